// Appends and consumes through Emmett's event store and its consumer. Usage: ../library.mjs
//
// A consumer has one puller, whatever the number of clients; its processor's checkpoint is in the
// same database. Batches are as large as ours.
import { getPostgreSQLEventStore, postgreSQLEventStoreConsumer } from
  '@event-driven-io/emmett-postgresql';
import { randomUUID } from 'node:crypto';
import { batch, data, limit, main, repeat, sleep } from '../library.mjs';

const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGOPTIONS } = process.env;
const connectionString = `postgresql://${PGUSER}@localhost:${PGPORT}/${PGDATABASE}`
  + `?host=${encodeURIComponent(PGHOST)}&options=${encodeURIComponent(PGOPTIONS ?? '')}`;

async function produce() {
  const store = getPostgreSQLEventStore(connectionString, { schema: { autoMigration: 'None' } });
  const events = Array.from({ length: batch }, () => ({ type: 'Work', data }));
  const done = await repeat(() => store.appendToStream(`work-${randomUUID()}`, events));
  console.log(`transactions ${done}`);
}

async function consume() {
  let consumed = 0;
  const consumer = postgreSQLEventStoreConsumer({ connectionString,
    pulling: { batchSize: batch, pullingFrequencyInMs: 1 } });
  consumer.reactor({ processorId: 'bench', startFrom: 'CURRENT',
    eachMessage: () => { consumed++; } });
  const running = consumer.start();
  await sleep(limit * 1000);
  await consumer.stop();
  await running;
  console.log(`consumed ${consumed}`);
}

await main({ produce, consume });
