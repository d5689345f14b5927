// Appends through Emmett's own library, as an application would.
//
// Usage: node load.mjs new|existing CLIENTS SECONDS    (PG* name the database)
// CLIENTS loops in this one process, a connection each; prints `metric value` lines.
// `existing`: each loop has 100 streams and appends to each in its turn, with the
// version it must be at expected.
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';
import { randomUUID } from 'node:crypto';
import pg from 'pg';

const kind = process.argv[2];
const [clients, seconds] = process.argv.slice(3).map(Number);
const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGOPTIONS } = process.env;
const { BENCH_PAYLOAD, BENCH_METADATA } = process.env;
const pool = new pg.Pool({ host: PGHOST, port: Number(PGPORT), user: PGUSER, database: PGDATABASE,
  options: PGOPTIONS, max: clients });
const url = `postgresql://${PGUSER}@localhost:${PGPORT}/${PGDATABASE}`
  + `?host=${encodeURIComponent(PGHOST)}`;
const store = getPostgreSQLEventStore(url, {
  connectionOptions: { pool, pooled: true },
  schema: { autoMigration: 'None' },
});
const data = JSON.parse(BENCH_PAYLOAD);
const metadata = JSON.parse(BENCH_METADATA);

let events = 0;
const began = performance.now();
const until = began + seconds * 1000;
async function client() {
  const streams = Array.from({ length: 100 }, () => `order-${randomUUID()}`);
  for (let i = 0; performance.now() < until; i++, events++) {
    const [stream, version] = kind === 'new'
      ? [`order-${randomUUID()}`, 0n] : [streams[i % 100], BigInt(Math.floor(i / 100))];
    const event = { type: 'OrderCreated', data,
      metadata: { ...metadata, correlation_id: randomUUID() } };
    await store.appendToStream(stream, [event],
      { expectedStreamVersion: version === 0n ? 'STREAM_DOES_NOT_EXIST' : version });
  }
}
await Promise.all(Array.from({ length: clients }, client));
const taken = (performance.now() - began) / 1000;
console.log(`events ${events}\nper_s ${events / taken}\nms ${taken * 1000 * clients / events}`);
await store.close();
await pool.end();
