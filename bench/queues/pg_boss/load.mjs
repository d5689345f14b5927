// Produces or consumes through pg-boss, as an application would: insert, fetch, complete.
//
// Usage: node load.mjs produce|consume CLIENTS BATCH TRANSACTIONS    (PG* name the database)
// CLIENTS loops in this one process, a connection each. A consumer runs until it is ended.
import PgBoss from 'pg-boss';

const kind = process.argv[2];
const [clients, batch, transactions] = process.argv.slice(3).map(Number);
const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGOPTIONS, BENCH_PAYLOAD } = process.env;
const boss = new PgBoss({ host: PGHOST, port: Number(PGPORT), user: PGUSER, database: PGDATABASE,
  options: PGOPTIONS, max: clients, supervise: false, schedule: false, migrate: false });
await boss.start();
const data = JSON.parse(BENCH_PAYLOAD);

async function produce() {
  for (let i = 0; i < transactions; i++) {
    if (batch === 1) await boss.send('bench', data);
    else await boss.insert(Array.from({ length: batch }, () => ({ name: 'bench', data })));
  }
}

async function consume() {
  for (;;) {
    const jobs = await boss.fetch('bench', { batchSize: batch });
    if (jobs.length > 0) await boss.complete('bench', jobs.map((job) => job.id));
    else await new Promise((resolve) => { setTimeout(resolve, 1); });
  }
}

await Promise.all(Array.from({ length: clients }, kind === 'produce' ? produce : consume));
await boss.stop({ graceful: false });
process.exit(0);
