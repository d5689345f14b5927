// Tests of deciders without a database: given what happened, when something is decided, then
// these events, or this error.
//
//     given(room, { type: 'RoomOpened', data: { nights: 3 } })
//         .when((state) => book(state, 'ann'))
//         .then({ type: 'RoomBooked', data: { guest: 'ann' } });
import { AssertionError, deepStrictEqual, fail, ok } from 'node:assert/strict';
import { asList } from './store.js';

const essence = ({ type, data }) => ({ type, data: JSON.parse(JSON.stringify(data ?? {})) });

// decider: { initial, evolve, decide }; events: what the stream has
export function given({ initial, evolve, decide }, ...events) {
	const past = events.flat().map((event, i) => ({ schemaVersion: 1, metadata: {}, ...event,
		...essence(event), version: i + 1 }));
	const state = past.reduce(evolve, typeof initial === 'function' ? initial() : initial);

	return {
		state,
		when: (decision = decide) => outcome(() => decision(state, { version: past.length })),
	};
}

function outcome(decide) {
	// An error that is thrown at once is one of the decision, too.
	const decided = (async () => asList(await decide()).map(essence))();

	decided.catch(() => {});
	return {
		async then(...expected) {
			// `await given(..).when(..)` would call this with the two functions of a promise.
			if (expected.length === 2 && typeof expected[1] === 'function') {
				expected[1](new AssertionError({ message:
					'say what is expected: then(...), thenNothing() or thenFails(...)' }));
				return;
			}
			deepStrictEqual(await decided, expected.flat().map(essence));
		},
		async thenNothing() {
			deepStrictEqual(await decided, []);
		},
		async thenFails(expected) {
			const error = await decided.then(
				(events) => fail(`decided ${JSON.stringify(events)}`), (reason) => reason);

			if (error.code === 'ERR_ASSERTION') throw error;
			const fits = expected instanceof RegExp ? expected.test(error.message)
				: expected === undefined || error instanceof expected;

			ok(fits, `another error: ${error}`);
			return error;
		},
	};
}

// A transaction for tests of handlers: notes what is sent, published and appended, answers
// queries with what it is told to.
export function recorder({ rows = [] } = {}) {
	const record = { sent: [], published: [], appended: [], replied: [], queries: [] };

	return Object.assign(record, {
		query: async (text, values) => {
			record.queries.push({ text, values });
			return { rows, rowCount: rows.length };
		},
		bus: {
			send: async (endpoint, type, body, options) =>
				record.sent.push({ endpoint, type, body, options }) && options?.id,
			publish: async (type, body, options) =>
				record.published.push({ type, body, options }) && options?.id,
			reply: async (message, type, body) => record.replied.push({ message, type, body }),
		},
		store: {
			append: async (stream, expectedVersion, events) =>
				record.appended.push({ stream, expectedVersion, events: asList(events) }),
		},
	});
}
