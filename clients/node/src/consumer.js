// Consumes one endpoint of the message bus with a table of handlers.
//
// A batch is a transaction: BEGIN and receive in one round trip; the handlers, each behind a
// savepoint that is set when it says its first statement; then ack and COMMIT, in one with the
// BEGIN and receive of the next batch. What a handler writes and sends commits with the ack, or
// is rolled back to its savepoint and its message failed. A consumer that dies leaves nothing:
// its messages are handed out again.
import { HandlerTimeout } from './errors.js';
import { finalError, lostRace, programError, sqlstate } from './failures.js';
import { Runner } from './runner.js';
import { beginning, holding, literal, query, script } from './sql.js';
import { Transaction } from './transaction.js';
import { waitInDatabase } from './wait.js';

const RACES_MAX = 3;
// After a start the first messages come one by one: one that ends the process must be known to
// the bus as the one that was being handled (receive of one message says so), also when its
// handler says no statement.
const SINGLES = 16;
const SNOOZE_MIN = 1;
const SNOOZE_MAX = 60;
const ERROR_TEXT = 2000;

export class Consumer {
	#client;
	#endpoint;
	#handlers;
	#options;
	#runner;
	// message ids that failed when they were to be committed, with the error
	#guilty = new Map();
	#broken = new Map();
	#singles = SINGLES;
	#timeout;

	constructor(client, endpoint, handlers, options = {}) {
		this.#client = client;
		this.#endpoint = endpoint;
		this.#handlers = new Map(Object.entries(handlers));
		this.#options = { batch: 50, concurrency: 1, wait: 30000, ...options };
		this.#runner = new Runner(client, `endpoint ${endpoint}`, this.#options.concurrency,
			(_, signal, more) => holding(client.pool,
				(connection) => this.#turn(connection, signal, more)),
			(_, signal) => this.#wait(signal));
	}

	// A loop that waits works with the connection of its wait, the others rest without any.
	get connections() {
		return this.#runner.concurrency;
	}

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

	#wait(signal) {
		return waitInDatabase(this.#client.pool, 'CALL message_bus.wait($1, $2::interval)',
			[this.#endpoint, `${this.#options.wait} milliseconds`], signal);
	}

	// The endpoint's timeout, or what the options say.
	async #limit(connection) {
		this.#timeout ??= this.#options.timeout ?? Number((await query(connection,
			'SELECT extract(epoch FROM timeout) * 1000 AS ms FROM message_bus.endpoint ' +
			'WHERE name = $1', [this.#endpoint])).rows[0]?.ms ?? 30000);
		return this.#timeout;
	}

	// Batch after batch on one connection, until there is nothing more for it.
	async #turn(connection, signal, more) {
		await this.#limit(connection);
		let messages = await this.#receive(connection);

		while (messages.length > 0 && !signal.aborted) {
			more();
			this.#singles = Math.max(this.#singles - 1, 0);
			messages = await this.#batch(connection, messages, signal);
			if (!messages) return 1;
		}
		// receive() may have written something down: who has died of a message.
		await query(connection, 'COMMIT');
		return 0;
	}

	// BEGIN and receive(), after the statements that end what was before; the messages.
	async #receive(connection, ...before) {
		const size = this.#singles > 0 ? 1 : this.#options.batch;
		const results = await query(connection, { rowMode: 'array', text: [...before,
			...beginning(null, { source: this.#client.source, timeout: this.#timeout }),
			`SELECT ${COLUMNS} FROM message_bus.receive(${literal(this.#endpoint)}, ${size})`,
		].join('; ') });

		return results.at(-1).rows.map(toMessage);
	}

	// Handles and commits them. The messages that have come with the commit, if it was one of
	// several and may have more behind it: what a single one did must be known before.
	async #batch(connection, messages, signal) {
		const batch = { connection, done: [], saved: false };

		for (const message of messages) {
			if (signal.aborted) break;
			await this.#message(batch, message);
		}
		const ending = [...(batch.done.length > 0 ? [acks(batch.done)] : []), 'COMMIT'];
		try {
			if (messages.length > 1 && !signal.aborted) {
				return await this.#receive(connection, ...ending);
			}
			await script(connection, ...ending);
		} catch (error) {
			this.#suspect(messages, error);
			throw error;
		}
		return undefined;
	}

	// A commit failed: by whom is known when each comes alone.
	#suspect(messages, error) {
		if (messages.length === 1 && sqlstate(error)) this.#guilty.set(messages[0].id, error);
		else this.#singles = Math.max(this.#singles, messages.length);
	}

	async #message(batch, message) {
		const handler = this.#handlers.get(message.type) ?? this.#handlers.get('*');
		const guilty = this.#guilty.get(message.id);

		this.#guilty.delete(message.id);
		if (guilty) return this.#fail(batch, message, guilty);
		if (!handler) {
			return query(batch.connection, 'SELECT message_bus.skip($1, $2)',
				[message.deliveryId, 'no handler for this message type']);
		}
		for (let races = 0; ; races++) {
			const error = await this.#attempt(batch, message, handler);

			if (!error) {
				batch.done.push(message.deliveryId);
				this.#broken.delete(message.type);
				return undefined;
			}
			if (!lostRace(error) || races + 1 >= RACES_MAX) {
				return this.#fail(batch, message, error);
			}
		}
	}

	// Calls the handler; undefined when all is well, else the error, and nothing is left of it.
	async #attempt(batch, message, handler) {
		const enter = () => {
			const statements = ['SAVEPOINT message',
				`SELECT message_bus.handle(${literal(message.deliveryId)}::bigint)`];

			if (batch.saved) statements.unshift('RELEASE SAVEPOINT message');
			batch.saved = batch.entered = true;
			return statements;
		};
		const tx = new Transaction(batch.connection, { enter });

		batch.entered = false;
		try {
			const running = handler(message, tx);

			if (typeof running?.then === 'function') await this.#inTime(message, tx, running);
			return undefined;
		} catch (error) {
			tx.end();
			if (lost(error)) throw error;
			if (batch.entered) await query(batch.connection, 'ROLLBACK TO SAVEPOINT message');
			return error;
		} finally {
			tx.end();
		}
	}

	// Fails when the handler has not ended before its time is over.
	#inTime(message, tx, running) {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => {
				tx.abort();
				reject(new HandlerTimeout(`${message.type} took longer than ${this.#timeout} ms`,
					{ sqlstate: '57014' }));
			}, this.#timeout);

			running.then(resolve, reject).finally(() => clearTimeout(timer));
		});
	}

	async #fail({ connection }, message, error) {
		this.#client.log.warn(`${message.type} ${message.id} at ${this.#endpoint} failed: ` +
			error.message, error);
		this.#options.onError?.(error, message);
		if (programError(error)) {
			const failures = (this.#broken.get(message.type) ?? 0) + 1;
			const seconds = Math.min(SNOOZE_MAX, SNOOZE_MIN * 2 ** (failures - 1));

			this.#broken.set(message.type, failures);
			await query(connection, 'SELECT message_bus.snooze($1, $2::interval, $3)',
				[message.deliveryId, `${seconds} seconds`, text(error)]);
			return;
		}
		await query(connection, 'SELECT message_bus.fail($1, $2, $3, $4)',
			[message.deliveryId, codeOf(error), text(error), !finalError(error)]);
	}
}

// Receipts are the server's own numbers.
const acks = (ids) => `SELECT message_bus.ack(VARIADIC '{${ids}}'::bigint[])`;
const text = (error) => String(error?.message ?? error).slice(0, ERROR_TEXT);

const codeOf = (error) => (error instanceof HandlerTimeout ? 'timeout'
	: sqlstate(error) ?? String(error?.code ?? error?.name ?? 'error'));

// Nothing can be said on this connection any more.
const lost = (error) => /^08|^57P0|^25P03/.test(sqlstate(error) ?? '') ||
	/^Connection terminated|^Client (was closed|has encountered)/.test(error?.message ?? '');

// A delivery as a row of values, in the order of toMessage.
const COLUMNS = 'message_id, message_type, schema_version, body, headers, correlation_id, ' +
	'conversation_id, causation_id, user_id, tenant_id, traceparent, source, sent_at, ' +
	'deliver_at, expires_at, partition_key, attempt, endpoint, delivery_id';

const toMessage = ([id, type, schemaVersion, body, headers, correlationId, conversationId,
	causationId, userId, tenantId, traceparent, source, sentAt, deliverAt, expiresAt,
	partitionKey, attempt, endpoint, deliveryId]) => ({ id, type, schemaVersion, body, headers,
	correlationId, conversationId, causationId, userId, tenantId, traceparent, source, sentAt,
	deliverAt, expiresAt, partitionKey, attempt, endpoint, deliveryId });
