// Sending and consuming. Every method says which statement it is.
import { Consumer } from './consumer.js';
import { call, json } from './sql.js';
import { request } from './request.js';

export class BusApi {
	#run;

	// run: the pool's client (autocommit), or a transaction
	constructor(run) {
		this.#run = run;
	}

	// SELECT message_bus.send(endpoint, message_type, body, ...)
	send(endpoint, type, body, options) {
		return this.#give('message_bus.send', { endpoint, message_type: type }, body, options);
	}

	// SELECT message_bus.publish(message_type, body, ...)
	publish(type, body, options) {
		return this.#give('message_bus.publish', { message_type: type }, body, options);
	}

	async #give(name, target, body, { id, key, deliverAt, expiresAt, headers,
		schemaVersion } = {}) {
		const [sql, values] = call(name, { ...target, body: json(body), message_id: id,
			partition_key: key, deliver_at: deliverAt, expires_at: expiresAt,
			headers: headers && json(headers), schema_version: schemaVersion });

		return (await this.#run.query(`SELECT ${sql} AS id`, values)).rows[0].id;
	}

	// send() with the header reply_to; the answer is the first message that comes back
	request(endpoint, type, body, options) {
		return request(this.#run, endpoint, type, body, options);
	}

	// send() to the endpoint that waits for the answer; nothing if nobody waits
	async reply(message, type, body, options = {}) {
		const { reply_to: replyTo } = message.headers ?? {};

		if (!replyTo) return null;
		return this.send(replyTo, type, body,
			{ ...options, headers: { ...options.headers, in_reply_to: message.id } });
	}

	// SELECT message_bus.cancel_scheduled(message_id)
	async cancel(id) {
		return (await this.#run.query('SELECT message_bus.cancel_scheduled($1) AS done', [id]))
			.rows[0].done;
	}

	// SELECT message_bus.create_endpoint(...), message_bus.subscribe(endpoint, type) for each
	// type. An endpoint that is there already stays as it is.
	async createEndpoint(name, { lanes, retry, breaker, timeout, order, subscribe = [] } = {}) {
		const [sql, values] = call('message_bus.create_endpoint', { name, lanes,
			retry: retry && json(retry), breaker: breaker && json(breaker), timeout,
			'"order"': order });

		await this.#run.query(`SELECT ${sql.replace(/(breaker => \$\d+)/, '$1::jsonb')} ` +
			'WHERE NOT EXISTS (SELECT FROM message_bus.endpoint e ' +
			`WHERE e.name = $1)`, values);
		if (subscribe.length > 0) {
			await this.#run.query('SELECT message_bus.subscribe($1, type) ' +
				'FROM unnest($2::text[]) type', [name, subscribe]);
		}
	}

	// SELECT message_bus.redrive(message_id, body): a dead letter comes again
	async redrive(id, body) {
		return (await this.#run.query('SELECT message_bus.redrive($1, $2::jsonb) AS count',
			[id, body === undefined ? null : json(body)])).rows[0].count;
	}

	// Per batch: BEGIN; receive(); handlers, a savepoint each; ack(); COMMIT
	consume(endpoint, handlers, options) {
		return this.#run.start(new Consumer(this.#run, endpoint, handlers, options));
	}
}
