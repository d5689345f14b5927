// Runs workflows of five steps through DBOS Transact, as an application would.
//
// Usage: node load.mjs CLIENTS WORKFLOWS    (PG* name the database)
// CLIENTS loops in this one process start a workflow and await its end, each with a
// connection of the pool. A step returns its number: what is measured is the bookkeeping.
import { DBOS } from '@dbos-inc/dbos-sdk';

const [clients, workflows] = process.argv.slice(2).map(Number);
const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const socket = new URLSearchParams({ host: PGHOST, port: PGPORT });
DBOS.setConfig({ name: 'bench', runAdminServer: false, logLevel: 'error',
  systemDatabaseUrl: `postgresql://${PGUSER}@localhost/${PGDATABASE}?${socket}`,
  systemDatabasePoolSize: clients });

const fiveSteps = DBOS.registerWorkflow(async () => {
  let sum = 0;
  for (let n = 1; n <= 5; n++) sum += await DBOS.runStep(async () => n, { name: `step ${n}` });
  return sum;
}, { name: 'five steps' });

await DBOS.launch();
await fiveSteps();
const began = process.hrtime.bigint();
await Promise.all(Array.from({ length: clients }, async (_, client) => {
  for (let i = client; i < workflows; i += clients) await fiveSteps();
}));
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
console.log(`workflows_per_s ${workflows / seconds}`);
await DBOS.shutdown();
process.exit(0);
