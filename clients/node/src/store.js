// Streams, decisions and subscriptions. Every method says which statement it is.
import { decideAndAppend } from './decide.js';
import { call, json, whole } from './sql.js';
import { Subscription } from './subscription.js';

export const NEW = 0;
export const ANY = -1;
export const EXISTS = -2;

export class StoreApi {
	#run;

	// run: the pool's client (autocommit), or a transaction
	constructor(run) {
		this.#run = run;
	}

	// SELECT version, position FROM event_store.append_json(stream, expected_version, events)
	async append(stream, expectedVersion, events) {
		const rows = asList(events).map(toRow);
		const { rows: [row] } = await this.#run.query(
			'SELECT version, "position" FROM event_store.append_json($1, $2, $3::jsonb)',
			[stream, expectedVersion, json(rows)]);

		return { version: whole(row.version),
			position: row.position === null ? null : whole(row.position) };
	}

	// SELECT * FROM event_store.read_stream(stream, from_version, max_count, backward)
	async read(stream, { from, max, backward } = {}) {
		const [sql, values] = call('event_store.read_stream',
			{ stream, from_version: from, max_count: max, backward });

		return (await this.#run.query(`SELECT * FROM ${sql}`, values)).rows.map(toEvent);
	}

	// SELECT * FROM event_store.read_all(after_position, max_count, category, event_types)
	async readAll({ after, max, category, types } = {}) {
		const [sql, values] = call('event_store.read_all',
			{ after_position: after, max_count: max, category, event_types: types });

		return (await this.#run.query(`SELECT * FROM ${sql}`, values)).rows.map(toEvent);
	}

	// SELECT * FROM event_store.load(stream, at_version, ..): an aggregate of the database
	async load(stream, { atVersion, atTime, atRecorded, forUpdate } = {}) {
		const [sql, values] = call('event_store.load',
			{ stream, at_version: atVersion, at_time: atTime, for_update: forUpdate,
				at_recorded: atRecorded });
		const { rows: [row] } = await this.#run.query(`SELECT * FROM ${sql}`, values);

		return { state: row.state, version: whole(row.version), createdAt: row.created_at,
			updatedAt: row.updated_at };
	}

	// SELECT event_store.stream_version(stream)
	async version(stream) {
		const { rows: [row] } = await this.#run.query(
			'SELECT event_store.stream_version($1) AS version', [stream]);

		return whole(row.version);
	}

	// SELECT event_store.check_version(stream, expected_version)
	async check(stream, expectedVersion) {
		await this.#run.query('SELECT event_store.check_version($1, $2)',
			[stream, expectedVersion]);
	}

	// read(), decide, append() with the version that was read; again when another was faster
	handle(stream, decider, options) {
		return decideAndAppend(this.#run, stream, decider, options);
	}

	// SELECT event_store.create_subscription(...)
	async createSubscription(name, { category, stream, types, startAfter, partitions,
		partitionBy, parkAfter } = {}) {
		const [sql, values] = call('event_store.create_subscription', { name, category,
			event_types: types, start_after: startAfter, partitions, stream, park_after: parkAfter,
			partition_by: partitionBy });

		await this.#run.query(`SELECT ${sql}`, values);
	}

	// Per batch: BEGIN; fetch(); handlers; advance(); COMMIT
	subscribe(name, options, handler) {
		return this.#run.start(new Subscription(this.#run, name, options, handler));
	}
}

export const asList = (events) =>
	(events === undefined || events === null ? [] : [].concat(events));

export function toRow({ type, data, metadata, id, occurredAt, schemaVersion }) {
	return { event_type: type, data, metadata, event_id: id, occurred_at: occurredAt,
		schema_version: schemaVersion };
}

export function toEvent(row) {
	return { position: whole(row.position), stream: row.stream, version: whole(row.version),
		id: row.event_id, type: row.event_type, schemaVersion: row.schema_version,
		data: row.data, metadata: row.metadata, occurredAt: row.occurred_at };
}
