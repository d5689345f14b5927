// Sagas: definitions, instances, what an operator does. Each method is one statement.
import { json, whole } from './sql.js';

const INSTANCE = 'saga, correlation_id, definition_version, current_state, data, version, ' +
	'created_at, updated_at';

export class SagaApi {
	#run;

	constructor(run) {
		this.#run = run;
	}

	async #value(sql, values) {
		return (await this.#run.query(`SELECT ${sql} AS value`, values)).rows[0].value;
	}

	// SELECT saga.define(name, definition): the new version; the same again is no new one
	async define(name, definition) {
		const document = json(definition);
		const { rows: [same] } = await this.#run.query('SELECT version FROM saga.definitions ' +
			'WHERE name = $1 AND is_current AND definition = $2::jsonb', [name, document]);

		return same?.version ?? this.#value('saga.define($1, $2::jsonb)', [name, document]);
	}

	// SELECT * FROM saga.verify(name)
	async verify(name) {
		return (await this.#run.query('SELECT * FROM saga.verify($1)', [name])).rows;
	}

	// SELECT saga.diagram(name, format): mermaid or dot
	diagram(name, format = 'mermaid') {
		return this.#value('saga.diagram($1, $2)', [name, format]);
	}

	// SELECT * FROM saga.get(saga, correlation_id); null if there is none
	async get(saga, correlationId) {
		const { rows: [row] } = await this.#run.query(
			`SELECT ${INSTANCE} FROM saga.get($1, $2)`, [saga, correlationId]);

		return row?.correlation_id ? toInstance(row) : null;
	}

	// SELECT * FROM saga.create(saga, correlation_id, data, state)
	async create(saga, correlationId, data = {}, state = null) {
		return toInstance((await this.#run.query(
			`SELECT ${INSTANCE} FROM saga.create($1, $2, $3::jsonb, $4)`,
			[saga, correlationId, json(data), state])).rows[0]);
	}

	// SELECT saga.update(saga, correlation_id, expected_version, new_state, data): the new version
	update(saga, correlationId, expectedVersion, newState, data) {
		return this.#value('saga.update($1, $2, $3, $4, $5::jsonb)',
			[saga, correlationId, expectedVersion, newState, json(data)]);
	}

	// SELECT saga.delete(saga, correlation_id)
	delete(saga, correlationId) {
		return this.#value('saga.delete($1, $2)', [saga, correlationId]);
	}

	// SELECT * FROM saga.history(saga, correlation_id)
	async history(saga, correlationId) {
		const { rows } = await this.#run.query('SELECT * FROM saga.history($1, $2)',
			[saga, correlationId]);

		return rows.map((row) => ({ version: whole(row.version), from: row.from_state,
			to: row.to_state, event: row.event, messageId: row.message_id,
			actions: row.actions, at: row.at, actor: row.actor, reason: row.reason }));
	}

	// SELECT saga.simulate(saga, scenario, schedules)
	simulate(saga, scenario, schedules = 1000) {
		return this.#value('saga.simulate($1, $2::jsonb, $3)', [saga, json(scenario), schedules]);
	}

	// SELECT saga.migrate(name, correlation_id, to_version, state_map): how many
	migrate(name, correlationId, toVersion, stateMap = {}) {
		return this.#value('saga.migrate($1, $2, $3, $4::jsonb)',
			[name, correlationId, toVersion, json(stateMap)]);
	}

	// SELECT saga.retry(saga, correlation_id)
	retry(saga, correlationId) {
		return this.#value('saga.retry($1, $2)', [saga, correlationId]);
	}

	// SELECT saga.goto(saga, correlation_id, state, reason)
	goto(saga, correlationId, state, reason) {
		return this.#value('saga.goto($1, $2, $3, $4)', [saga, correlationId, state, reason]);
	}

	// SELECT saga.cancel(saga, correlation_id, reason)
	cancel(saga, correlationId, reason) {
		return this.#value('saga.cancel($1, $2, $3)', [saga, correlationId, reason]);
	}

	// SELECT saga.run(max_messages): by hand, where the library is not preloaded
	run(maxMessages = 1000) {
		return this.#value('saga.run($1)', [maxMessages]);
	}

	// SELECT saga.fire_due(as_of): timers up to a time, for tests
	fireDue(asOf = new Date()) {
		return this.#value('saga.fire_due($1)', [asOf]);
	}
}

function toInstance(row) {
	return { saga: row.saga, correlationId: row.correlation_id,
		definitionVersion: row.definition_version, state: row.current_state, data: row.data,
		version: whole(row.version), createdAt: row.created_at, updatedAt: row.updated_at };
}
