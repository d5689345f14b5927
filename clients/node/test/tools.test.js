// Without a server: given/when/then, the recorder, declarations from contracts, classes of errors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as all from '../src/index.js';
import { toTypeScript } from '../src/contracts.js';
import { decideAndAppend } from '../src/decide.js';
import { finalError, lostRace, programError, translate } from '../src/failures.js';
import { beginning, call, whole } from '../src/sql.js';
import { given, recorder } from '../src/testing.js';

class Full extends Error {}
const room = {
	initial: { taken: 0 },
	evolve: ({ taken }, { type }) => ({ taken: taken + (type === 'Taken' ? 1 : 0) }),
};
const take = (guest) => ({ taken }, { version }) => {
	if (taken > 1) throw new Full('full');
	return guest ? { type: 'Taken', data: { guest, version } } : [];
};
const taken = (guest) => ({ type: 'Taken', data: { guest } });

test('given, when, then', async () => {
	await given(room, taken('ann')).when(take('bob'))
		.then({ type: 'Taken', data: { guest: 'bob', version: 1 } });
	await given(room).when(take(null)).thenNothing();
	const error = await given(room, [taken('ann'), taken('bob')]).when(take('cid')).thenFails(Full);
	assert.equal(error.message, 'full');
	await given(room, taken('a'), taken('b')).when(take('c')).thenFails(/full/);
	assert.deepEqual(given(room, taken('a'), { type: 'Other', data: {} }).state, { taken: 1 });
	await given({ ...room, decide: take('dan') }).when()
		.then({ type: 'Taken', data: { guest: 'dan', version: 0 } });
});

test('given, when, then fails when it should', async () => {
	const fails = (promise) => assert.rejects(promise, { code: 'ERR_ASSERTION' });

	await fails(given(room).when(take('bob')).then(taken('ann')));
	await fails(given(room).when(take('bob')).thenNothing());
	await fails(given(room).when(take('bob')).then());
	await fails(given(room).when(take('bob')).thenFails(Full));
	await fails(given(room, taken('a'), taken('b')).when(take('c')).thenFails(TypeError));
	await fails(given(room, taken('a'), taken('b')).when(take('c')).thenFails(/empty/));
	await fails((async () => { await given(room).when(take('bob')); })());
	await assert.rejects(given(room, taken('a'), taken('b')).when(take('c')).thenNothing(), Full);
});

test('a recorder notes what a handler does', async () => {
	const tx = recorder({ rows: [{ n: 1 }] });
	const { rows } = await tx.query('SELECT 1 AS n');

	await tx.bus.send('billing', 'SendInvoice', { n: rows[0].n });
	await tx.bus.publish('Invoiced', {});
	await tx.store.append('invoice-1', all.NEW, taken('ann'));
	await tx.bus.reply({ id: 1 }, 'Done', {});
	assert.deepEqual(tx.sent.map(({ endpoint, body }) => [endpoint, body]),
		[['billing', { n: 1 }]]);
	assert.deepEqual([tx.published.length, tx.replied.length, tx.queries.length], [1, 1, 1]);
	assert.deepEqual(tx.appended[0].events, [taken('ann')]);
});

test('declarations from a document', () => {
	const reference = (name) => ({ $ref: `#/components/schemas/${name}` });
	const text = toTypeScript({ components: {
		schemas: {
			envelope: {},
			'public.odd one': { type: 'object', required: ['a'], additionalProperties: false,
				properties: { a: { type: 'integer', description: 'An end: */' },
					'b-c': { type: ['array', 'null'], items: reference('public.mood') },
					d: { type: 'object', properties: { e: { type: 'boolean' } } },
					f: {}, g: { allOf: [reference('public.mood')] } } },
			'public.mood': { oneOf: [{ enum: ['glad', 'sad'], type: 'string' }, { type: 'null' }] },
			'public.empty': { type: 'object', properties: {}, additionalProperties: false },
			'1.2': {},
		},
		messages: {
			'Odd.v1': { name: 'Odd', payload: reference('public.empty') },
			'Odd.v2': { name: 'Odd', 'x-current': true, payload: reference('public.odd one') },
			'x y.v1': { name: 'x y', 'x-current': true, payload: reference('1.2') },
		} } });

	assert.equal(text, `// Written by ecommerce-types from event_store.asyncapi(): do not edit.

export type T12 = unknown;

export type PublicEmpty = Record<string, never>;

export type PublicMood = "glad" | "sad" | null;

export type PublicOddOne = {
	/** An end: * / */
	a: number;
	"b-c"?: Array<PublicMood> | null;
	d?: {
		e?: boolean;
	};
	f?: unknown;
	g?: PublicMood;
};

/** The current version of every type. */
export interface Contracts {
	Odd: PublicOddOne;
	"x y": T12;
}

/** Every version of every type. */
export interface Versions {
	"Odd.v1": PublicEmpty;
	"Odd.v2": PublicOddOne;
	"x y.v1": T12;
}
`);
});

test('a decision is not made on fewer events than the version that it expects', async () => {
	// The stream is empty when it is read, and has an event when its version is asked for.
	const reads = [[], [{ ...taken('ann'), version: 1 }]];
	const store = { read: async () => reads.shift(), version: async () => 1,
		append: async (_, expected) => ({ version: expected + 1, position: 1 }) };
	const { events, version } = await decideAndAppend({ store }, 'room-1',
		{ ...room, decide: ({ taken: n }) => ({ type: 'Taken', data: { n } }) });

	assert.deepEqual([events[0].data.n, version], [1, 2]);
});

test('errors by their SQLSTATE', () => {
	const error = (code, detail) => translate(Object.assign(new Error('x'), { code, detail,
		hint: 'h' }));

	assert.ok(error('MB001') instanceof all.NoEndpoint);
	assert.ok(error('MB001') instanceof all.BusError);
	assert.equal(error('MB001').name, 'NoEndpoint');
	assert.equal(error('MB001').hint, 'h');
	assert.equal(error('ST777').constructor, all.StoreError);
	assert.equal(error('23505').constructor, Error);
	assert.deepEqual(error('SG010', '[{"problem": "p"}]').problems, [{ problem: 'p' }]);
	assert.equal(error('SG002', '{"expected_version": 7}').expectedVersion, 7);
	assert.equal(error('ST004', 'no JSON').detail, 'no JSON');
	assert.equal(translate(undefined), undefined);
	assert.ok(lostRace(error('MB007')) && lostRace(error('ST020')));
	assert.ok(lostRace(error('ST001')) && lostRace(error('40001')) && !lostRace(error('ST004')));
	assert.ok(finalError(error('23505')) && finalError(new all.Rejected('no')));
	assert.ok(!finalError(new Error('x')) && !finalError(error('ST001')));
	assert.ok(programError(error('42883')) && programError(new ReferenceError('x')));
	// A TypeError may come of what a message says: such a message must end as a dead letter.
	assert.ok(!programError(error('23505')) && !programError(new TypeError('x')));
});

test('statements', () => {
	assert.deepEqual(call('f', { a: 1, b: undefined, c: null }),
		['f(a => $1, c => $2)', [1, null]]);
	assert.equal(whole('42'), 42);
	assert.throws(() => whole('9007199254740993'), RangeError);
	assert.deepEqual(beginning(null), ['BEGIN']);
	assert.match(beginning({ userId: `o'neill` })[1], /NULL::uuid, 'o''neill', NULL/);
});
