// Lets Emmett's library make its schema in the database that PG* name.
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const url = `postgresql://${PGUSER}@localhost:${PGPORT}/${PGDATABASE}`
  + `?host=${encodeURIComponent(PGHOST)}`;
const store = getPostgreSQLEventStore(url);
await store.schema.migrate();
await store.close();
