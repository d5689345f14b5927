// An empty event store of Emmett's.
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const { PGHOST, PGPORT, PGUSER, PGDATABASE } = process.env;
const url = `postgresql://${PGUSER}@localhost:${PGPORT}/${PGDATABASE}`
  + `?host=${encodeURIComponent(PGHOST)}`;
const store = getPostgreSQLEventStore(url);
await store.schema.migrate();
await store.close();
