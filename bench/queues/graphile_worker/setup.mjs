// An empty graphile-worker database.
import { runMigrations } from 'graphile-worker';
import pg from 'pg';

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const pool = new pg.Pool({ host: PGHOST, port: Number(PGPORT), user: PGUSER,
  database: PGDATABASE });
await runMigrations({ pgPool: pool });
await pool.end();
