// The worker that t/Clients.pm kills: see there.
import { connect } from '../src/index.js';

const db = connect({ max: 6, source: 'worker' });
const note = (kind, n, tx) => tx.query('INSERT INTO effect VALUES ($1, $2)', [kind, n]);

// One loop: with two, what the other has in hand dies with the deadly message too.
db.bus.consume('work', {
	Work: (message, tx) => note('message', message.body.n, tx),
	Deadly: () => process.kill(process.pid, 'SIGKILL'),
}, { batch: 20 });
db.store.subscribe('follow', { category: 'thing', batch: 20, concurrency: 2 },
	(event, tx) => note('event', event.data.n, tx));
const ending = db.untilSignal();
console.log(`ready ${process.pid}`);
await ending;
