// A transaction on one connection, with the store, the bus and the sagas in it.
import { SagaApi } from './saga.js';
import { BusApi } from './bus.js';
import { StoreApi } from './store.js';
import { TransactionAborted, TransactionEnded } from './errors.js';
import { beginning, holding, query, script } from './sql.js';

// What a handler is given: query() and the three APIs, until it has returned. enter() runs
// before the first statement; a consumer sets its savepoint there.
export class Transaction {
	#connection;
	#enter;
	#ended = false;
	#late;
	#store;
	#bus;
	#saga;

	constructor(connection, { enter } = {}) {
		this.#connection = connection;
		this.#enter = enter;
	}

	// Made when they are asked for: a consumer makes a transaction for each message.
	get store() {
		return this.#store ??= new StoreApi(this);
	}

	get bus() {
		return this.#bus ??= new BusApi(this);
	}

	get saga() {
		return this.#saga ??= new SagaApi(this);
	}

	// Aborted when the time of a handler is over.
	get signal() {
		return (this.#late ??= new AbortController()).signal;
	}

	abort() {
		this.#late?.abort();
	}

	async query(text, values) {
		if (this.#ended) {
			throw new TransactionEnded('this transaction has ended', {
				hint: 'Await everything that a handler begins before it returns.' });
		}
		if (this.#enter) {
			const entering = this.#enter;

			this.#enter = undefined;
			// Not awaited: what is queued on a connection keeps its order.
			const entered = script(this.#connection, ...entering());
			entered.catch(() => {});
		}
		return query(this.#connection, text, values);
	}

	get inTransaction() {
		return true;
	}

	start() {
		throw new TypeError('consume() and subscribe() are called on the client, not in a ' +
			'transaction');
	}

	end() {
		this.#ended = true;
	}
}

// Runs fn in a transaction: its outcome is committed, an error rolls back.
export function transact(pool, context, fn, options) {
	return holding(pool, async (connection) => {
		await script(connection, ...beginning(context, options));
		const tx = new Transaction(connection);
		let value;

		try {
			value = await fn(tx);
		} finally {
			tx.end();
		}
		const { command } = await query(connection, 'COMMIT');
		if (command === 'ROLLBACK') {
			throw new TransactionAborted('the transaction was rolled back: a statement failed', {
				hint: 'Do not catch errors of statements inside a transaction.' });
		}
		return value;
	});
}
