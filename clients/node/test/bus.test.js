// Sending and consuming: batches, failures of every kind, requests, shutdown.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EndpointFull, NoEndpoint, PoolTooSmall, Rejected, RequestTimeout } from
	'../src/index.js';
import { open, rows, until } from './database.js';

const db = open({ max: 12 });
const QUICK = { kind: 'interval', limit: 2, interval: '10 ms' };

before(() => db.query('CREATE TABLE effect (endpoint text, n int)'));
after(() => db.close());

const effect = (endpoint, n, tx) => tx.query('INSERT INTO effect VALUES ($1, $2)', [endpoint, n]);
const effects = async (endpoint) => (await rows(db,
	'SELECT n FROM effect WHERE endpoint = $1 ORDER BY n', [endpoint])).map(({ n }) => n);
const dead = (endpoint) => rows(db,
	'SELECT reason, error_code, error, attempts, message_type FROM message_bus.dead_letters ' +
	'WHERE endpoint = $1', [endpoint]);
const state = async (endpoint) => (await rows(db,
	'SELECT * FROM message_bus.endpoints WHERE name = $1', [endpoint]))[0];
const isEmpty = async (endpoint) => {
	const { depth, in_flight: flying, retrying } = await state(endpoint);

	return Number(depth) + Number(flying) + Number(retrying) === 0;
};
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('what is published arrives once, with its envelope', async () => {
	await db.bus.createEndpoint('plain', { subscribe: ['Plain'], lanes: 4 });
	await db.bus.createEndpoint('plain', { subscribe: ['Plain'] });
	const got = [];
	const consumer = db.bus.consume('plain', { Plain: async (message, tx) => {
		got.push(message);
		await effect('plain', message.body.n, tx);
		await tx.store.append(`plain-${message.body.n}`, 0, { type: 'Done', data: {} });
	} }, { concurrency: 3, batch: 10 });

	await db.tx({ userId: 'ann', correlationId: '33333333-0000-4000-8000-000000000003' },
		async (tx) => {
			for (const n of numbers(1, 100)) await tx.bus.publish('Plain', { n }, { key: `k${n}` });
		});
	await until('all are done', async () => (await effects('plain')).length === 100);
	await consumer.stop();
	assert.deepEqual(await effects('plain'), numbers(1, 100));
	assert.equal(got[0].userId, 'ann');
	assert.equal(got[0].attempt, 1);
	assert.equal(got[0].headers && got[0].endpoint, 'plain');
	const [{ metadata }] = await db.store.read('plain-7');
	assert.equal(metadata.correlation_id, '33333333-0000-4000-8000-000000000003');
	assert.equal(metadata.causation_id, got.find(({ body }) => body.n === 7).id);
	assert.equal(metadata.user_id, 'ann');
});

test('a message that fails is undone and comes again; the others of its batch stay', async () => {
	await db.bus.createEndpoint('failing', { retry: QUICK });
	for (const n of numbers(1, 30)) await db.bus.send('failing', 'Work', { n });
	const consumer = db.bus.consume('failing', { Work: async ({ body: { n }, attempt }, tx) => {
		await effect('failing', n, tx);
		if (n % 10 === 0 && attempt < 3) throw new Error('not yet');
		if (n === 15) await tx.query('INSERT INTO effect VALUES (1, 2, 3)');
		if (n === 16) throw new Rejected('bad_number', 'sixteen');
		if (n === 17) await tx.query('SELECT 1 / 0');
	} });

	await until('all but the impossible are done', async () =>
		(await effects('failing')).length === 27);
	await until('two are dead', async () => (await dead('failing')).length === 2);
	await consumer.stop();
	assert.deepEqual(await effects('failing'),
		numbers(1, 30).filter((n) => ![15, 16, 17].includes(n)));
	const letters = await dead('failing');
	assert.deepEqual(letters.map(({ error_code: code, attempts }) => [code, attempts]).sort(),
		[['22012', 1], ['bad_number', 1]]);
	// A handler that cannot work is not the message's fault: it waits for who mends it.
	const { scheduled, retrying, depth } = await state('failing');
	assert.equal(Number(scheduled) + Number(retrying) + Number(depth), 1);
});

test('a full batch costs one round trip', async () => {
	await db.bus.createEndpoint('dense', { lanes: 1 });
	await db.query(`SELECT count(message_bus.send('dense', 'Work', jsonb_build_object('n', n)))
		FROM generate_series(1, 1016) n`);
	const counting = open({ max: 2 });
	const got = [];
	let statements = 0;

	counting.pool.on('connect', (connection) => {
		const say = connection.query.bind(connection);
		connection.query = (...words) => { statements++; return say(...words); };
	});
	const consumer = counting.bus.consume('dense', { Work: ({ body }) => { got.push(body.n); } },
		{ batch: 100 });
	await until('all are done', () => got.length >= 1016);
	const needed = statements;
	await consumer.stop();
	await counting.close();
	assert.deepEqual(got, numbers(1, 1016));
	// The first 16 come one by one, two each; then ten batches; the endpoint's timeout, an end.
	assert.ok(needed <= 2 * 16 + 10 + 4, `${needed} round trips`);
	assert.ok(await isEmpty('dense'));
});

test('what nobody handles is skipped, or handled by *', async () => {
	await db.bus.createEndpoint('odd');
	await db.bus.send('odd', 'Odd', {});
	const consumer = db.bus.consume('odd', { Even: () => {} });

	await until('it is dead', async () => (await dead('odd')).length === 1);
	await consumer.stop();
	assert.equal((await dead('odd'))[0].reason, 'skipped');
	const [{ message_id: id }] = await rows(db,
		`SELECT message_id FROM message_bus.dead_letters WHERE endpoint = 'odd'`);
	const types = [];
	const any = db.bus.consume('odd', { '*': ({ type, body }) => { types.push([type, body]); } });

	assert.equal(await db.bus.redrive(id, { n: 2 }), 1);
	await until('it comes', () => types.length === 1);
	await any.stop();
	assert.deepEqual(types, [['Odd', { n: 2 }]]);
});

test('a handler that takes too long has failed, and the next one is handled', async () => {
	await db.bus.createEndpoint('slow', { retry: { kind: 'none' } });
	await db.bus.send('slow', 'Work', { n: 1 }, { key: 'a' });
	await db.bus.send('slow', 'Work', { n: 2 }, { key: 'a' });
	await db.bus.send('slow', 'Work', { n: 3 }, { key: 'a' });
	let aborted = false;
	const consumer = db.bus.consume('slow', { Work: async ({ body: { n } }, tx) => {
		await effect('slow', n, tx);
		tx.signal.addEventListener('abort', () => { aborted = true; });
		if (n === 1) await new Promise(() => {});
		if (n === 2) await tx.query('SELECT pg_sleep(600)');
	} }, { timeout: 300 });

	await until('the third is done', async () => (await effects('slow')).length === 1);
	await until('two are dead', async () => (await dead('slow')).length === 2);
	await consumer.stop();
	assert.ok(aborted);
	assert.deepEqual(await effects('slow'), [3]);
	const codes = (await dead('slow')).map(({ error_code: code }) => code);
	assert.ok(codes.includes('timeout'), codes);
});

test('what fails when it is committed is found and fails alone', async () => {
	await db.query(`CREATE TABLE deferred (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
		INSERT INTO deferred VALUES (13)`);
	await db.bus.createEndpoint('deferred', { retry: { kind: 'none' }, lanes: 1 });
	await db.tx(null, async (tx) => {
		for (const n of numbers(1, 40)) await tx.bus.send('deferred', 'Work', { n });
	});
	const consumer = db.bus.consume('deferred', { Work: ({ body: { n } }, tx) =>
		tx.query('INSERT INTO deferred VALUES ($1)', [n]) });

	await until('all others are done', async () =>
		(await rows(db, 'SELECT count(*)::int AS n FROM deferred'))[0].n === 40);
	await until('one is dead', async () => (await dead('deferred')).length === 1);
	await consumer.stop();
	assert.equal((await dead('deferred'))[0].error_code, '23505');
});

test('messages of a key come in order, also from many loops', async () => {
	await db.bus.createEndpoint('ordered', { lanes: 8 });
	const order = new Map();
	const consumer = db.bus.consume('ordered', { Work: async ({ body, partitionKey }) => {
		order.set(partitionKey, [...order.get(partitionKey) ?? [], body.n]);
	} }, { concurrency: 4, batch: 5 });

	for (const n of numbers(1, 40)) {
		await db.tx(null, async (tx) => {
			for (const key of ['a', 'b', 'c']) await tx.bus.send('ordered', 'Work', { n }, { key });
		});
	}
	await until('it is empty', () => isEmpty('ordered'));
	await consumer.stop();
	for (const key of ['a', 'b', 'c']) assert.deepEqual(order.get(key), numbers(1, 40));
});

test('requests have answers, or time out', async () => {
	await db.bus.createEndpoint('adder');
	const consumer = db.bus.consume('adder', { Add: async (message, tx) => {
		const { a, b } = message.body;

		if (a !== undefined) await tx.bus.reply(message, 'Sum', { sum: a + b });
	} });
	const sums = await Promise.all(numbers(1, 20).map((n) =>
		db.bus.request('adder', 'Add', { a: n, b: 1 })));

	assert.deepEqual(sums.map(({ body }) => body.sum), numbers(2, 21));
	assert.equal(sums[0].type, 'Sum');
	await assert.rejects(db.bus.request('adder', 'Add', {}, { timeout: 100 }), RequestTimeout);
	await assert.rejects(db.bus.request('nowhere', 'Add', {}), NoEndpoint);
	await assert.rejects(db.tx(null, (tx) => tx.bus.request('adder', 'Add', {})), /committed/);
	await db.bus.send('adder', 'Add', { a: 1, b: 1 });
	await until('an answer that nobody waits for is no error', () => isEmpty('adder'));
	await consumer.stop();
});

test('scheduled and cancelled, the same id again, a full endpoint', async () => {
	await db.bus.createEndpoint('later');
	const id = await db.bus.send('later', 'Work', {}, { deliverAt: new Date(Date.now() + 1e7) });
	assert.equal(Number((await state('later')).scheduled), 1);
	assert.equal(await db.bus.cancel(id), true);
	assert.equal(await db.bus.cancel(id), false);
	const own = '44444444-0000-4000-8000-000000000004';
	assert.equal(await db.bus.send('later', 'Work', {}, { id: own }), own);
	await db.bus.send('later', 'Work', {}, { id: own });
	assert.equal(Number((await state('later')).depth), 1);
	await db.query(`SELECT message_bus.alter_endpoint('later', max_depth => 1)`);
	await assert.rejects(db.bus.send('later', 'Work', {}), EndpointFull);
});

test('it stops at once while it waits, and after the message in hand', async () => {
	await db.bus.createEndpoint('stopping', { lanes: 1 });
	const consumer = db.bus.consume('stopping', { Work: async ({ body: { n } }, tx) => {
		await effect('stopping', n, tx);
		if (n === 20) consumer.stop();
	} }, { wait: 600000 });

	await until('it waits', async () => (await rows(db, `SELECT FROM pg_stat_activity
		WHERE query LIKE 'CALL message_bus.wait%' AND state = 'active'`)).length === 1);
	await db.tx(null, async (tx) => {
		for (const n of numbers(1, 40)) await tx.bus.send('stopping', 'Work', { n });
	});
	await consumer.done;
	assert.deepEqual(await effects('stopping'), numbers(1, 20));
	const again = db.bus.consume('stopping', { Work: ({ body: { n } }, tx) =>
		effect('stopping', n, tx) }, { wait: 600000 });
	await until('the rest', async () => (await effects('stopping')).length === 40);
	await again.stop();
	assert.deepEqual(await effects('stopping'), numbers(1, 40));
});

test('connections that are ended cost a batch and nothing else', async () => {
	await db.bus.createEndpoint('cut', { lanes: 2 });
	const consumer = db.bus.consume('cut', { Work: async ({ body: { n } }, tx) => {
		await effect('cut', n, tx);
		if (n % 25 === 0 && !(await rows(db, 'SELECT FROM effect WHERE endpoint = $1 AND n = $2',
			['cutting', n])).length) {
			await effect('cutting', n, db);
			await tx.query('SELECT pg_terminate_backend(pg_backend_pid())');
		}
	} }, { batch: 10 });

	await db.tx(null, async (tx) => {
		for (const n of numbers(1, 100)) await tx.bus.send('cut', 'Work', { n });
	});
	await until('all are done', async () => (await effects('cut')).length === 100);
	await consumer.stop();
	assert.deepEqual(await effects('cut'), numbers(1, 100));
	assert.deepEqual(await effects('cutting'), [25, 50, 75, 100]);
});

test('a message that always ends its connection is dead, also when there is no other', async () => {
	await db.bus.createEndpoint('deadly', { retry: { kind: 'none' } });
	await db.bus.send('deadly', 'Work', {});
	const consumer = db.bus.consume('deadly', { Work: (_, tx) =>
		tx.query('SELECT pg_terminate_backend(pg_backend_pid())') });

	await until('it is dead', async () => (await dead('deadly')).length === 1);
	await consumer.stop();
	assert.equal((await dead('deadly'))[0].error_code, 'crash');
});

test('a pool that is too small for its consumers is refused', async () => {
	const small = open({ max: 2 });

	assert.throws(() => small.bus.consume('plain', {}, { concurrency: 2 }), PoolTooSmall);
	await small.close();
	await small.close();
});
