// The command handler: fold a stream, decide on its state, append what was decided.
import { lostRace } from './failures.js';
import { asList } from './store.js';
import { backoff } from './wait.js';

const RETRIES = 10;
const BACKOFF_MIN = 5;
const BACKOFF_MAX = 200;

// decider: { initial, evolve(state, event), decide(state, { version, tx }) }
// With options.context, or within a transaction, decide() gets tx, and what it does there
// commits with the events. Deciders in transactions wait for each other: a lost race would undo
// more than the decision.
export async function decideAndAppend(run, stream, decider, options = {}) {
	const retries = options.retries ?? RETRIES;

	if (run.inTransaction) return once(run, stream, decider, run);
	for (let attempt = 0; ; attempt++) {
		try {
			return await (options.context
				? run.tx(options.context, (tx) => once(tx, stream, decider, tx))
				: once(run, stream, decider));
		} catch (error) {
			if (!lostRace(error) || attempt >= retries) throw error;
		}
		await backoff(attempt, BACKOFF_MIN, BACKOFF_MAX);
	}
}

const LOCK = `SELECT pg_advisory_xact_lock(hashtextextended('event_store:' || $1, 0))`;

async function once({ store }, stream, { initial, evolve, decide }, tx) {
	if (tx) await tx.query(LOCK, [stream]);
	const { events, version } = await current(store, stream);
	const state = events.reduce(evolve, typeof initial === 'function' ? initial() : initial);
	const decided = asList(await decide(state, { version, tx }));

	if (decided.length === 0) return { state, version, position: null, events: [] };
	const appended = await store.append(stream, version, decided);
	const newState = decided.reduce((folded, event, i) =>
		evolve(folded, { ...event, data: event.data ?? {}, stream, version: version + 1 + i }),
	state);
	return { state: newState, version: appended.version, position: appended.position,
		events: decided };
}

// The events of a stream and a version that is not newer than they are: if it moves on between
// the statements, the append fails. Only an empty stream has to be asked for its version: its
// events may have been deleted, and the numbering goes on.
async function current(store, stream) {
	let events = await store.read(stream);
	let version = 0;

	if (events.length === 0 && (version = await store.version(stream)) > 0) {
		events = await store.read(stream);
	}
	return { events, version: events.at(-1)?.version ?? version };
}
