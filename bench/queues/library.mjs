// What the load scripts of the npm packages share.
//
// Usage: node load.mjs KIND CLIENTS BATCH -t TRANSACTIONS | -T SECONDS
// The database is that of the PG* variables, a message's body BENCH_PAYLOAD. A script exports
// nothing; it hands its kinds to main(), and prints lines of `metric value`.
import { setTimeout as sleep } from 'node:timers/promises';

const [kind, clients, batch, unit, limit] = process.argv.slice(2)
  .map((word) => (/^\d+$/.test(word) ? Number(word) : word));
const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGOPTIONS, BENCH_PAYLOAD } = process.env;

const connection = { host: PGHOST, port: Number(PGPORT), user: PGUSER, database: PGDATABASE,
  options: PGOPTIONS };
const data = BENCH_PAYLOAD && JSON.parse(BENCH_PAYLOAD);

// Calls work in CLIENTS loops until each has done TRANSACTIONS, or the SECONDS are over.
async function repeat(work) {
  const end = unit === '-T' ? performance.now() + limit * 1000 : Infinity;
  let done = 0;

  async function loop() {
    for (let i = 0; unit === '-T' ? performance.now() < end : i < limit; i++) {
      await work();
      done++;
    }
  }
  await Promise.all(Array.from({ length: clients }, loop));
  return done;
}

function printPercentiles(name, values) {
  values.sort((a, b) => a - b);
  for (const part of [50, 99]) {
    const value = values[Math.floor((values.length * part) / 100)];
    console.log(`${name}_p${part} ${value.toFixed(1)}`);
  }
}

// How long after the commit of a send the handler of a waiting consumer starts, LIMIT times:
// src/handoff.c, for a library. listen(arrived) starts the consumer, whose handler calls
// arrived; send() is done when the sender hears of its commit; between two messages are 5 ms
// and up to `pause` ms.
async function handoff({ listen, send, pause }) {
  let arrived;
  await listen(() => arrived(performance.now()));

  async function oneRound() {
    await sleep(5 + Math.random() * pause);
    const handled = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing came for 30 s')), 30000);
      arrived = (time) => { clearTimeout(timer); resolve(time); };
    });
    const sent = performance.now();
    const [started, committed] = await Promise.all([handled,
      send().then(() => performance.now())]);
    return { from_commit: 1000 * Math.max(started - committed, 0),
      from_send: 1000 * (started - sent) };
  }
  // The first rounds fill caches.
  const times = [];
  for (let i = -Math.ceil(limit / 20); i < limit; i++) {
    const taken = await oneRound();
    if (i >= 0) times.push(taken);
  }
  for (const name of ['from_commit', 'from_send']) {
    printPercentiles(name, times.map((taken) => taken[name]));
  }
}

// What it takes to load the package is not to be measured: the driver waits for "ready".
async function main(kinds) {
  if (kind !== 'handoff') console.log('ready');
  await kinds[kind]();
  process.exit(0);
}

export { batch, clients, connection, data, handoff, limit, main, repeat, sleep };
