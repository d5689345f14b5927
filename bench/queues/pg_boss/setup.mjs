// An empty pg-boss queue, without policies that would delay anything.
import PgBoss from 'pg-boss';

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const boss = new PgBoss({ host: PGHOST, port: Number(PGPORT), user: PGUSER, database: PGDATABASE });
await boss.start();
await boss.createQueue('bench');
await boss.stop({ graceful: false });
