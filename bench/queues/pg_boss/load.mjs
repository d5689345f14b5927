// Sends and consumes through pg-boss, as an application would. Usage: ../library.mjs
//
// Its workers look every 0.5 s at the most. Those that shall consume as fast as they can
// therefore fetch and complete in a loop; those that wait for messages are workers.
import PgBoss from 'pg-boss';
import { batch, clients, connection, data, handoff, main, repeat, sleep } from '../library.mjs';

const POLL = 0.5;

// The consumer's side has the package's own housekeeping, with its defaults.
async function connect(options) {
  const boss = new PgBoss({ ...connection, max: clients, migrate: false, ...options });
  boss.on('error', (error) => { throw error; });
  return boss.start();
}

const sender = () => connect({ supervise: false, schedule: false });

async function produce() {
  const boss = await sender();
  const jobs = Array.from({ length: batch }, () => ({ name: 'bench', data }));
  const done = await repeat(() => (batch === 1 ? boss.send('bench', data) : boss.insert(jobs)));
  console.log(`transactions ${done}`);
}

async function consume() {
  const boss = await connect();
  let consumed = 0;
  await repeat(async () => {
    const jobs = await boss.fetch('bench', { batchSize: batch });
    if (jobs.length > 0) {
      const { affected } = await boss.complete('bench', jobs.map((job) => job.id));
      consumed += affected;
    } else {
      await sleep(1);
    }
  });
  console.log(`consumed ${consumed}`);
}

async function schedule() {
  const boss = await sender();
  await repeat(async () => {
    const startAfter = new Date(Date.now() + 1000 + Math.random() * 2000);
    await boss.send('bench', data, { startAfter });
    await sleep(1);
  });
}

// What is due in half a second must fit into one batch.
async function consumeDue() {
  const boss = await connect();
  await boss.work('bench', { pollingIntervalSeconds: POLL, batchSize: 1000 }, async () => {});
  await repeat(() => sleep(1000));
}

async function fromCommit() {
  const boss = await sender();
  const consumer = await connect();
  await handoff({
    listen: (arrived) => consumer.work('bench', { pollingIntervalSeconds: POLL },
      async () => arrived()),
    send: () => boss.send('bench', {}),
    pause: POLL * 1000,
  });
  // Else the last job may stay active, and a later case would wait for it in vain.
  await consumer.stop({ graceful: true, wait: true });
}

await main({ produce, consume, schedule, consume_due: consumeDue, handoff: fromCommit });
