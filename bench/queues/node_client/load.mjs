// Sends and consumes through clients/node, as an application would. Usage: ../library.mjs
import { connect } from '../../../clients/node/src/index.js';
import { batch, clients, connection, data, limit, main, repeat, sleep } from '../library.mjs';

const open = () => connect({ ...connection, max: clients + 1 });

async function produce() {
  const db = open();
  const done = await repeat(() => db.query('SELECT count(message_bus.send($1, $2, $3, ' +
    'partition_key => n::text)) FROM generate_series(1, $4::int) n',
  ['bench', 'Work', JSON.stringify(data), batch]));
  console.log(`transactions ${done}`);
}

async function consume() {
  const db = open();
  let consumed = 0;
  db.bus.consume('bench', { Work: () => { consumed++; } }, { concurrency: clients, batch });
  await sleep(limit * 1000);
  await db.close();
  console.log(`consumed ${consumed}`);
}

await main({ produce, consume });
