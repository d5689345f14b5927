// Produces or consumes through graphile-worker, as an application would: add_jobs, run.
//
// Usage: node load.mjs produce|consume CLIENTS BATCH TRANSACTIONS    (PG* name the database)
// One process with CLIENTS connections; its worker takes one job at a time per client.
import { run } from 'graphile-worker';
import pg from 'pg';

const kind = process.argv[2];
const [clients, batch, transactions] = process.argv.slice(3).map(Number);
const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGOPTIONS, BENCH_PAYLOAD } = process.env;
const pool = new pg.Pool({ host: PGHOST, port: Number(PGPORT), user: PGUSER,
  database: PGDATABASE, options: PGOPTIONS, max: clients + 2 });
const data = JSON.parse(BENCH_PAYLOAD);

async function produce() {
  const specs = JSON.stringify(Array.from({ length: batch },
    () => ({ identifier: 'bench', payload: data })));
  for (let i = 0; i < transactions; i++) {
    await pool.query(`SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
      SELECT json_populate_record(NULL::graphile_worker.job_spec, j)
      FROM json_array_elements($1) j))`, [specs]);
  }
}

if (kind === 'produce') {
  await Promise.all(Array.from({ length: clients }, produce));
  await pool.end();
} else {
  const runner = await run({ pgPool: pool, concurrency: clients, pollInterval: 2,
    noHandleSignals: false, taskList: { bench: async () => {} },
    logger: undefined });
  await runner.promise;
}
