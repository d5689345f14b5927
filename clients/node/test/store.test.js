// Streams, decisions, transactions and their errors, on a server.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { ANY, EXISTS, InvalidEvent, NEW, NoEventHandler, TransactionAborted, TransactionEnded,
	VersionConflict } from '../src/index.js';
import { open, rows } from './database.js';

const db = open({ source: 'store-test' });
after(() => db.close());

const counter = {
	initial: () => ({ total: 0 }),
	evolve: ({ total }, { data }) => ({ total: total + data.by }),
	decide: ({ total }) => (total < 40 ? { type: 'Added', data: { by: 1, was: total } } : []),
};

test('append and read', async () => {
	const first = await db.store.append('read-1', NEW, [
		{ type: 'A', data: { n: 1 }, metadata: { user_id: 'ann' }, occurredAt: new Date(0) },
		{ type: 'B', data: { n: 2 } }]);
	assert.equal(first.version, 2);
	assert.equal((await db.store.append('read-1', 2, { type: 'C', data: {} })).version, 3);
	assert.equal((await db.store.append('read-1', EXISTS, { type: 'C', data: {} })).version, 4);
	assert.equal((await db.store.append('read-1', ANY, [])).position, null);

	const events = await db.store.read('read-1');
	assert.deepEqual(events.map(({ type, version }) => [type, version]),
		[['A', 1], ['B', 2], ['C', 3], ['C', 4]]);
	assert.deepEqual(events[0].occurredAt, new Date(0));
	assert.equal(events[0].metadata.user_id, 'ann');
	assert.equal(events[1].position, first.position);
	assert.deepEqual((await db.store.read('read-1', { from: 4, backward: true, max: 2 }))
		.map(({ version }) => version), [4, 3]);
	assert.deepEqual((await db.store.readAll({ after: first.position, category: 'read' }))
		.map(({ version }) => version), [3, 4]);
	assert.equal(await db.store.version('read-1'), 4);
});

test('an append with the same ids writes nothing', async () => {
	const event = { type: 'A', data: {}, id: '11111111-0000-4000-8000-000000000001' };
	const first = await db.store.append('again-1', NEW, event);

	assert.deepEqual(await db.store.append('again-1', NEW, event), first);
	assert.equal(await db.store.version('again-1'), 1);
});

test('errors are classes with properties and a hint', async () => {
	await db.store.append('error-1', NEW, { type: 'A', data: {} });
	await assert.rejects(db.store.append('error-1', NEW, { type: 'A', data: {} }), (error) => {
		assert.ok(error instanceof VersionConflict);
		assert.equal(error.sqlstate, 'ST001');
		assert.equal(error.expectedVersion, 0);
		assert.equal(error.actualVersion, 1);
		assert.equal(error.stream, 'error-1');
		assert.match(error.hint, /^Read the stream again/);
		return true;
	});
	await assert.rejects(db.store.append('error-1', ANY, { type: 'A', data: [] }), InvalidEvent);
	await assert.rejects(db.store.append('error-1', undefined, { type: 'A', data: {} }),
		{ code: '22004' });
	await assert.rejects(db.query('SELECT 1 / 0'), { code: '22012' });
});

test('forty decisions of twenty rivals are all different', async () => {
	const decisions = await Promise.all(Array.from({ length: 45 }, () =>
		db.store.handle('counter-1', counter, { retries: 200 })));
	const made = decisions.filter(({ events }) => events.length > 0);

	assert.equal(made.length, 40);
	assert.deepEqual((await db.store.read('counter-1')).map(({ data }) => data.was),
		Array.from({ length: 40 }, (_, i) => i));
	assert.deepEqual((await db.store.handle('counter-1', counter)).state, { total: 40 });
});

test('without retries the loser is told', async () => {
	const slow = { ...counter, decide: async (state) => {
		await db.store.append('counter-2', ANY, { type: 'Added', data: { by: 5 } });
		return counter.decide(state);
	} };

	await assert.rejects(db.store.handle('counter-2', slow, { retries: 0 }), VersionConflict);
	await assert.rejects(db.store.handle('counter-2', slow, { retries: 2 }), VersionConflict);
	assert.equal(await db.store.version('counter-2'), 4);
});

test('what a decision does in its transaction commits with its events', async () => {
	const context = { correlationId: '22222222-0000-4000-8000-000000000002', userId: 'ann',
		conversationId: '22222222-0000-4000-8000-000000000003' };
	const noting = { ...counter, decide: async (state, { tx }) => {
		await tx.store.append('note-1', ANY, { type: 'Noted', data: {} });
		return counter.decide(state);
	} };
	const failing = { ...counter, decide: async (state, { tx }) => {
		await tx.store.append('note-1', ANY, { type: 'Noted', data: {} });
		throw new Error('no');
	} };

	await db.store.handle('counter-3', noting, { context });
	await assert.rejects(db.store.handle('counter-3', failing, { context }), /^Error: no$/);
	const [note, ...more] = await db.store.read('note-1');
	assert.equal(more.length, 0);
	assert.equal(note.metadata.user_id, 'ann');
	assert.equal(note.metadata.correlation_id, context.correlationId);
	assert.equal(note.metadata.conversation_id, context.conversationId);
	assert.equal(note.metadata.source, 'store-test');
});

test('deciders within transactions wait for each other', async () => {
	await Promise.all(Array.from({ length: 20 }, () =>
		db.tx(null, (tx) => tx.store.handle('counter-4', counter))));
	assert.equal(await db.store.version('counter-4'), 20);
});

test('a decider knows the version of a stream whose events are gone', async () => {
	await db.store.append('gone-1', NEW, { type: 'Added', data: { by: 1 } });
	await db.query(`SELECT event_store.delete_stream('gone-1', 1)`);
	assert.equal((await db.store.handle('gone-1', counter)).version, 2);
});

test('a transaction is all or nothing', async () => {
	await assert.rejects(db.tx(null, async (tx) => {
		await tx.store.append('tx-1', NEW, { type: 'A', data: {} });
		throw new Error('undo');
	}), /^Error: undo$/);
	assert.equal(await db.store.version('tx-1'), 0);
	await assert.rejects(db.tx(null, async (tx) => {
		await tx.store.append('tx-1', NEW, { type: 'A', data: {} });
		await tx.store.append('tx-1', NEW, { type: 'A', data: {} }).catch(() => {});
	}), TransactionAborted);
	assert.equal(await db.store.version('tx-1'), 0);
});

test('a transaction that has ended does nothing more', async () => {
	let late;

	await db.tx(null, async (tx) => { late = tx; });
	await assert.rejects(late.query('SELECT 1'), TransactionEnded);
	assert.throws(() => late.bus.consume('x', {}), TypeError);
});

test('an isolation level', async () => {
	assert.equal((await db.tx(null, (tx) => rows(tx, 'SHOW transaction_isolation'),
		{ isolation: 'serializable' }))[0].transaction_isolation, 'serializable');
	await assert.rejects(db.tx(null, async () => {}, { isolation: 'x; DROP TABLE y' }), RangeError);
});

test('aggregates of the database', async () => {
	await db.query(`
		CREATE FUNCTION add_one(state jsonb, event event_store.event) RETURNS jsonb
		LANGUAGE sql IMMUTABLE AS $$SELECT jsonb_build_object('n', (state ->> 'n')::int + 1)$$;
		SELECT event_store.create_aggregate('tally', '{"n": 0}');
		SELECT event_store.create_event_handler('tally', 'Added',
			'add_one(jsonb, event_store.event)')`);
	await db.store.append('tally-1', NEW, [{ type: 'Added', data: {} },
		{ type: 'Added', data: {} }]);
	const { state, version, createdAt } = await db.store.load('tally-1');
	assert.deepEqual([state, version], [{ n: 2 }, 2]);
	assert.ok(createdAt instanceof Date);
	assert.deepEqual((await db.store.load('tally-1', { atVersion: 1 })).state, { n: 1 });
	let rival;
	await db.tx(null, async (tx) => {
		const { version: loaded } = await tx.store.load('tally-1', { forUpdate: true });

		rival = db.store.append('tally-1', 2, { type: 'Added', data: {} });
		rival.catch(() => {});
		await tx.store.append('tally-1', loaded, { type: 'Added', data: {} });
	});
	await assert.rejects(rival, VersionConflict);
	assert.equal((await db.store.load('tally-2')).state, null);
	await db.store.append('tally-3', NEW, { type: 'Unknown', data: {} });
	await assert.rejects(db.store.load('tally-3'), NoEventHandler);
});
