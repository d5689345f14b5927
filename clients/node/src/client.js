// The client: a pool, and the three APIs on it.
import pg from 'pg';
import { BusApi } from './bus.js';
import { PoolTooSmall } from './errors.js';
import { Replies } from './request.js';
import { SagaApi } from './saga.js';
import { query } from './sql.js';
import { StoreApi } from './store.js';
import { transact } from './transaction.js';

const quiet = () => {};
const standardLog = { warn: (text) => console.warn(text) };

// options: { pool } or the options of pg.Pool; source: who stamps what transactions write;
// log: { warn(text, error) }
export const connect = (options) => new Client(options);

export class Client {
	#own;
	#closed;
	#running = new Set();

	constructor({ pool, source, log = standardLog, ...options } = {}) {
		this.#own = pool === undefined;
		this.pool = pool ?? new pg.Pool(options);
		this.source = source;
		this.log = log;
		this.store = new StoreApi(this);
		this.bus = new BusApi(this);
		this.saga = new SagaApi(this);
		this.replies = new Replies(this);
		// A connection that breaks is heard of by whoever uses it; idle ones are replaced.
		this.pool.on('error', quiet);
		this.pool.on('connect', (connection) => connection.on('error', quiet));
	}

	// One statement, in autocommit.
	query(text, values) {
		return query(this.pool, text, values);
	}

	// BEGIN; SELECT ecommerce.set_context(...); fn(tx); COMMIT
	tx(context, fn, options) {
		return transact(this.pool, context, fn, { source: this.source, ...options });
	}

	// Starts what consumes, if the pool has room for it and for others.
	start(running) {
		const needed = [...this.#running, running].reduce((sum, r) => sum + r.connections, 1);
		const { max } = this.pool.options;

		if (needed > max) {
			throw new PoolTooSmall(`a pool of ${max} connections is too small: ` +
				`consumers and subscriptions need ${needed - 1}, requests at least one`, {
				hint: `Give the pool max: ${needed}, or more if requests come in parallel.` });
		}
		this.#running.add(running);
		running.start().done.catch(quiet).finally(() => this.#running.delete(running));
		return running;
	}

	// Lets consumers and subscriptions finish what they have in hand, then ends the pool.
	close() {
		this.#closed ??= this.#shutDown();
		return this.#closed;
	}

	async #shutDown() {
		await Promise.allSettled([...this.#running].map((running) => running.stop()));
		await this.replies.close();
		if (this.#own) await this.pool.end();
	}

	// Returns on SIGTERM or SIGINT, when all has been closed. Fails if one of them has failed.
	async untilSignal(...signals) {
		const names = signals.length > 0 ? signals : ['SIGTERM', 'SIGINT'];
		let listener;
		const signalled = new Promise((resolve) => {
			listener = resolve;
			names.forEach((name) => process.once(name, listener));
		});

		try {
			await Promise.race([signalled, ...[...this.#running].map(({ done }) =>
				done.then(() => signalled))]);
		} finally {
			names.forEach((name) => process.off(name, listener));
			await this.close();
		}
	}
}
