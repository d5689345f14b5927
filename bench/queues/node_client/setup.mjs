// An empty endpoint of the message bus, made through the client for Node.js.
import { connect } from '../../../clients/node/src/index.js';

const db = connect();
await db.query('CREATE EXTENSION ecommerce');
await db.bus.createEndpoint('bench');
await db.close();
