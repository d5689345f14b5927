// Sends and consumes through graphile-worker, as an application would. Usage: ../library.mjs
//
// Its worker LISTENs, and looks for scheduled jobs every 2 s, which is its default. It takes one
// job at a time per client. It says nothing of jobs that succeed.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';
import { batch, clients, connection, data, handoff, limit, main, repeat, sleep }
  from '../library.mjs';

const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message);
});

function newPool() {
  return new pg.Pool({ ...connection, max: clients + 2 });
}

function work(bench) {
  return run({ pgPool: newPool(), concurrency: clients, taskList: { bench }, logger });
}

function sender() {
  return makeWorkerUtils({ pgPool: newPool(), logger });
}

async function produce() {
  const pool = newPool();
  const specs = JSON.stringify(Array.from({ length: batch },
    () => ({ identifier: 'bench', payload: data })));
  const done = await repeat(() => pool.query(`SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
    SELECT json_populate_record(NULL::graphile_worker.job_spec, j)
    FROM json_array_elements($1) j))`, [specs]));
  console.log(`transactions ${done}`);
}

async function consume() {
  let consumed = 0;
  const runner = await work(async () => {});
  runner.events.on('job:complete', ({ error }) => { if (!error) consumed++; });
  await sleep(limit * 1000);
  await runner.stop();
  console.log(`consumed ${consumed}`);
}

async function schedule() {
  const utils = await sender();
  await repeat(async () => {
    const runAt = new Date(Date.now() + 1000 + Math.random() * 2000);
    await utils.addJob('bench', data, { runAt });
    await sleep(1);
  });
}

async function consumeDue() {
  await work(async () => {});
  await sleep(limit * 1000);
}

async function fromCommit() {
  const utils = await sender();
  let runner;
  await handoff({
    listen: async (arrived) => { runner = await work(async () => arrived()); },
    send: () => utils.addJob('bench', {}),
    pause: 3,
  });
  // Else the last job may stay locked, and a later case would wait for it in vain.
  await runner.stop();
}

await main({ produce, consume, schedule, consume_due: consumeDue, handoff: fromCommit });
