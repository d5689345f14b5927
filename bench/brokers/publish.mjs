// Publishing to a stream of JetStream, by others than streamd.
// Usage: node publish.mjs URL plain | relay COUNT, with BENCH_PAYLOAD as body.
// plain: nothing but that, 500 at a time, each with the headers of a CloudEvent and an id.
// relay: from an outbox table of the database that the PG* variables name, as it is commonly done:
// 500 rows FOR UPDATE SKIP LOCKED, published, confirmed, deleted, commit. Both publish at least
// once. Prints lines of `metric value`; the clock runs when it has connected.
import pg from 'pg';
import { connect, headers } from 'nats';

const BATCH = 500;
const [url, command, count] = process.argv.slice(2);
const { BENCH_PAYLOAD } = process.env;
const connection = await connect({ servers: url });
const manager = await connection.jetstreamManager();
await manager.streams.add({ name: command, subjects: [`${command}.>`] });
const jetstream = connection.jetstream();
const text = new TextEncoder();

function publish({ id, stream, body }) {
  const header = headers();
  header.set('Nats-Msg-Id', String(id));
  for (const [name, value] of Object.entries({ id: String(id), source: '/shop',
    type: 'OrderSubmitted', subject: stream, specversion: '1.0', version: '1',
    position: String(id), schemaversion: '1', time: new Date().toISOString() }))
    header.set(`ce-${name}`, value);
  return jetstream.publish(`${command}.order.OrderSubmitted`, text.encode(body),
    { headers: header });
}

async function plain() {
  for (let sent = 0; sent < count; sent += BATCH)
    await Promise.all(Array.from({ length: BATCH }, (_, i) =>
      publish({ id: sent + i, stream: `order-${(sent + i) % 1000}`, body: BENCH_PAYLOAD })));
}

async function relay(client) {
  for (let sent = 0; sent < count;) {
    await client.query('BEGIN');
    const { rows } = await client.query({ name: 'take', values: [BATCH],
      text: 'SELECT id, stream, body FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED' });
    await Promise.all(rows.map(publish));
    await client.query({ name: 'done', values: [rows.map((row) => row.id)],
      text: 'DELETE FROM outbox WHERE id = ANY ($1)' });
    await client.query('COMMIT');
    sent += rows.length;
  }
}

const client = command === 'relay' ? new pg.Client() : null;
await client?.connect();
const began = performance.now();
await (client ? relay(client) : plain());
console.log(`events ${count}\nper_s ${(count * 1000) / (performance.now() - began)}`);
await client?.end();
await connection.close();
