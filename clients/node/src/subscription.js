// Follows the store: batches of events, each in a transaction with its checkpoint.
//
// A batch runs without savepoints. When a handler fails the transaction is rolled back; the
// events before the one that failed come again and are committed, then it comes alone, up to
// `retries` times more; then it is parked, and the subscription goes on, or it stops.
import { Runner } from './runner.js';
import { beginning, holding, literal, query, script } from './sql.js';
import { toEvent } from './store.js';
import { Transaction } from './transaction.js';
import { backoff, waitInDatabase } from './wait.js';

const RETRY_MIN = 100;
const RETRY_MAX = 5000;
const ERROR_TEXT = 2000;

export class Subscription {
	#client;
	#name;
	#options;
	#handler;
	#runner;
	// position of an event whose handler failed: how often, and the error once that is enough
	#failed = new Map();
	#condemned = new Map();

	constructor(client, name, options, handler) {
		this.#client = client;
		this.#name = name;
		this.#handler = handler;
		this.#options = { batch: 100, concurrency: 1, retries: 3, onError: 'stop', wait: 30000,
			...options };
		if (!['stop', 'park'].includes(this.#options.onError)) {
			throw new TypeError(`onError must be stop or park, not ${this.#options.onError}`);
		}
		this.#runner = new Runner(client, `subscription ${name}`, this.#options.concurrency,
			(state, signal) => this.#turn(state, signal),
			(state, signal) => this.#wait(signal));
	}

	// A loop that waits works with the connection of its wait, the others rest without any.
	get connections() {
		return this.#runner.concurrency;
	}

	// Ends when it has been stopped; fails with the error of an event, with onError 'stop'.
	get done() {
		return this.#runner.done;
	}

	start() {
		this.#runner.start();
		return this;
	}

	stop() {
		return this.#runner.stop();
	}

	// Woken by appends, by replay_parked(), and by a consumer that let go of a partition.
	#wait(signal) {
		return waitInDatabase(this.#client.pool,
			'CALL event_store.wait_subscription($1, $2::interval)',
			[this.#name, `${this.#options.wait} milliseconds`], signal);
	}

	async #turn(state, signal) {
		try {
			return await holding(this.#client.pool,
				(connection) => this.#fetch(connection, state));
		} catch (error) {
			if (error instanceof EventFailure) return this.#onFailure(state, error, signal);
			throw error;
		}
	}

	async #fetch(connection, state) {
		const size = state.size ?? this.#options.batch;
		const results = await script(connection,
			...beginning(null, { source: this.#client.source }),
			`SELECT *, event_store.attempt(${literal(this.#name)}, position) AS attempt
			FROM event_store.fetch(${literal(this.#name)}, ${size})`);
		const events = results.at(-1).rows
			.map((row) => ({ ...toEvent(row), attempt: this.#attempt(row) }));

		await this.#batch(connection, state, events);
		return events.length;
	}

	// The server knows of other processes, also of killed ones; not of failures in a batch.
	#attempt({ position, attempt }) {
		return Math.max((this.#failed.get(Number(position)) ?? 0) + 1, attempt);
	}

	async #batch(connection, state, events) {
		const tx = new Transaction(connection);
		let handled = 0;

		if (events.length === 0) {
			// fetch() may have moved a checkpoint over events of others.
			await query(connection, 'COMMIT');
			return;
		}
		try {
			for (const event of events) {
				if (this.#condemned.has(event.position)) await this.#park(tx, event);
				else await this.#handler(event, tx);
				handled++;
			}
		} catch (error) {
			throw new EventFailure(error, events[handled], handled);
		} finally {
			tx.end();
		}
		await script(connection,
			`SELECT event_store.advance(${literal(this.#name)}, ${events.at(-1).position})`,
			'COMMIT');
		for (const { position } of events) {
			this.#failed.delete(position);
			this.#condemned.delete(position);
		}
		state.size = undefined;
	}

	// The events before it first, then it alone, then what onError says.
	async #onFailure(state, { error, event, before }, signal) {
		if (before > 0) {
			state.size = before;
			return before;
		}
		const failures = event.attempt;
		const where = `event ${event.position} (${event.type}, ${event.stream})`;

		this.#failed.set(event.position, failures);
		this.#client.log.warn(`subscription ${this.#name}, ${where}: ${error.message}`, error);
		state.size = 1;
		if (failures <= this.#options.retries) {
			await backoff(failures - 1, RETRY_MIN, RETRY_MAX, signal);
			return 1;
		}
		if (this.#options.onError === 'stop') throw Object.assign(error, { event, fatal: true });
		this.#condemned.set(event.position, error);
		return 1;
	}

	// SELECT event_store.park(subscription, position, error, attempts): kept for replay_parked()
	#park(tx, event) {
		return tx.query('SELECT event_store.park($1, $2, $3, $4)', [this.#name, event.position,
			String(this.#condemned.get(event.position).message).slice(0, ERROR_TEXT),
			this.#failed.get(event.position)]);
	}
}

class EventFailure extends Error {
	constructor(error, event, before) {
		super(error.message);
		Object.assign(this, { error, event, before });
	}
}
