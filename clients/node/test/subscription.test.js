// Subscriptions: shared partitions, checkpoints with the handler's effects, failures.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NEW, NoSubscription } from '../src/index.js';
import { open, rows, until } from './database.js';

const db = open({ max: 12 });

before(() => db.query('CREATE TABLE seen (name text, stream text, version int)'));
after(() => db.close());

const note = (name) => (event, tx) =>
	tx.query('INSERT INTO seen VALUES ($1, $2, $3)', [name, event.stream, event.version]);
const count = async (name) => (await rows(db, 'SELECT count(*)::int AS n, ' +
	'count(DISTINCT (stream, version))::int AS d FROM seen WHERE name = $1', [name]))[0];

async function fill(category, streams, length) {
	for (let i = 1; i <= streams; i++) {
		await db.store.append(`${category}-${i}`, NEW, Array.from({ length },
			(_, n) => ({ type: 'Happened', data: { n } })));
	}
}

test('several loops share the partitions, and keep the order of streams', async () => {
	await db.store.createSubscription('shared', { category: 'shared', partitions: 4 });
	const order = new Map();
	const subscription = db.store.subscribe('shared',
		{ category: 'shared', concurrency: 3, batch: 7 }, async (event, tx) => {
			await note('shared')(event, tx);
			order.set(event.stream, [...order.get(event.stream) ?? [], event.version]);
		});

	await fill('shared', 10, 20);
	await until('all are seen', async () => (await count('shared')).n === 200);
	await subscription.stop();
	assert.equal((await count('shared')).d, 200);
	for (const versions of order.values()) {
		assert.deepEqual(versions, Array.from({ length: 20 }, (_, i) => i + 1));
	}
});

test('what is appended while it waits comes at once', async () => {
	await db.store.createSubscription('awake', { category: 'awake' });
	const subscription = db.store.subscribe('awake', { category: 'awake', wait: 600000 },
		note('awake'));

	for (let i = 1; i <= 5; i++) {
		await db.store.append(`awake-${i}`, NEW, { type: 'Happened', data: {} });
		await until(`event ${i}`, async () => (await count('awake')).n === i);
	}
	// A wait of ten minutes does not keep it from stopping.
	await subscription.stop();
});

test('a handler that fails now and then loses and doubles nothing', async () => {
	await db.store.createSubscription('shaky', { category: 'shaky' });
	let calls = 0;
	const subscription = db.store.subscribe('shaky', { category: 'shaky', batch: 10, retries: 50 },
		async (event, tx) => {
			await note('shaky')(event, tx);
			if (++calls % 7 === 0) throw new Error('shaky');
		});

	await fill('shaky', 3, 10);
	await until('all are seen', async () => (await count('shaky')).n === 30);
	await subscription.stop();
	assert.equal((await count('shaky')).d, 30);
});

test('with onError stop it ends with the error, and what was before is committed', async () => {
	await db.store.createSubscription('strict', { category: 'strict' });
	const subscription = db.store.subscribe('strict', { category: 'strict', retries: 1 },
		async (event, tx) => {
			if (event.version === 4) throw new Error('four');
			await note('strict')(event, tx);
		});

	await fill('strict', 1, 6);
	await assert.rejects(subscription.done, (error) => error.message === 'four' &&
		error.event.version === 4);
	assert.equal((await count('strict')).n, 3);
});

test('with onError park it goes on, and a replay wakes it', async () => {
	await db.store.createSubscription('parking', { category: 'parking' });
	let mended = false;
	const tries = [];
	const parked = () => rows(db, `SELECT attempts FROM event_store.parked_events
		WHERE subscription = 'parking'`);
	const subscription = db.store.subscribe('parking',
		{ retries: 2, onError: 'park', wait: 600000 }, async (event, tx) => {
			if (event.version === 2) tries.push(event.attempt);
			if (event.version === 2 && !mended) throw new Error('two');
			await note('parking')(event, tx);
		});

	await fill('parking', 1, 4);
	await until('the others are seen', async () => (await count('parking')).n === 3);
	await until('it waits', async () => (await rows(db, `SELECT 1 FROM pg_stat_activity
		WHERE query LIKE 'CALL event_store.wait%' AND wait_event = 'Extension'`)).length > 0);
	assert.deepEqual(await parked(), [{ attempts: 3 }]);
	assert.deepEqual(tries.slice(-3), [1, 2, 3]);
	await db.query(`SELECT event_store.replay_parked('parking')`);
	await until('it is parked again', async () => (await parked())[0].attempts > 3);
	mended = true;
	await db.query(`SELECT event_store.replay_parked('parking')`);
	await until('it is seen', async () => (await count('parking')).n === 4);
	assert.equal((await parked()).length, 0);
	await subscription.stop();
});

test('deletions of streams come to who asks, in their place', async () => {
	await db.store.createSubscription('erased', { category: 'erased', types: ['*', '$deleted'] });
	const seen = [];
	const subscription = db.store.subscribe('erased', {}, (event) => {
		seen.push(`${event.type} ${event.version}`);
	});

	await fill('erased', 1, 2);
	await until('they are seen', async () => seen.length === 2);
	await db.query(`SELECT event_store.delete_stream('erased-1', 2)`);
	await fill('erased', 1, 1);
	await until('all are seen', async () => seen.length === 4);
	assert.deepEqual(seen, ['Happened 1', 'Happened 2', '$deleted 2', 'Happened 3']);
	await subscription.stop();
});

test('what is failed at in every process the server itself puts aside', async () => {
	await db.store.createSubscription('deadly', { category: 'deadly', parkAfter: 2 });
	const run = () => db.store.subscribe('deadly', { batch: 1, retries: 0 }, async (event, tx) => {
		if (event.version === 1) throw new Error('one');
		await note('deadly')(event, tx);
	});

	await fill('deadly', 1, 3);
	for (let process = 0; process < 2; process++) await assert.rejects(run().done, /one/);
	const last = run();
	await until('the others are seen', async () => (await count('deadly')).n === 2);
	await last.stop();
	assert.deepEqual(await rows(db, `SELECT attempts FROM event_store.parked_events
		WHERE subscription = 'deadly'`), [{ attempts: 2 }]);
});

test('an unknown subscription is an error that is told', async () => {
	const subscription = db.store.subscribe('nobody', {}, () => {});

	await until('it is told', () => db.warnings.some((text) => /nobody/.test(text)));
	await subscription.stop();
	await assert.rejects(db.tx(null, (tx) =>
		tx.query(`SELECT * FROM event_store.fetch('nobody')`)), NoSubscription);
	assert.throws(() => db.store.subscribe('x', { onError: 'ignore' }, () => {}), TypeError);
});
