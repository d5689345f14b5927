// Requests: a command whose answer comes back to the process that asked.
//
// A process that asks has an endpoint of its own, reply-<day>-<uuid>, which goes when the client
// is closed. What processes that died have left is dropped, a day later, by the next one that
// makes one; a process makes a new one after half a day.
import { randomUUID } from 'node:crypto';
import { EcommerceError, RequestTimeout } from './errors.js';

const PREFIX = 'reply-';
const HALF_DAY = 12 * 3600 * 1000;
const LEFT_BEHIND = `SELECT name FROM message_bus.endpoint
	WHERE name ~ '^reply-\\d{8}-' AND substr(name, 7, 8) < to_char(now() - interval '1 day',
		'YYYYMMDD')`;

// Answers of one client: what waits, by the id of the question.
export class Replies {
	#client;
	#current;
	#made = [];
	#waiting = new Map();

	constructor(client) {
		this.#client = client;
	}

	// The endpoint to which answers go.
	async endpoint() {
		if (!this.#current || Date.now() - this.#current.since > HALF_DAY) {
			this.#current = { since: Date.now(), name: this.#make() };
			this.#current.name.catch(() => { this.#current = undefined; });
		}
		return this.#current.name;
	}

	async #make() {
		const { bus } = this.#client;
		const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
		const name = `${PREFIX}${day}-${randomUUID()}`;

		for (const old of (await this.#client.query(LEFT_BEHIND)).rows) {
			await drop(this.#client, old.name);
		}
		await bus.createEndpoint(name, { lanes: 1, retry: { kind: 'none' } });
		this.#made.push(name);
		bus.consume(name, { '*': (message) => this.#arrived(message) });
		return name;
	}

	#arrived(message) {
		this.#waiting.get(message.headers?.in_reply_to)?.(message);
	}

	// The answer to a question that has not been asked yet.
	expect(id, timeout) {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => this.#settle(id, () => reject(new RequestTimeout(
				`no answer within ${timeout} ms`, { hint: 'Look at the endpoint in ' +
					'message_bus.endpoints, and at message_bus.dead_letters.' }))), timeout);

			this.#waiting.set(id, (message) => this.#settle(id, () => {
				clearTimeout(timer);
				resolve(message);
			}));
		});
	}

	#settle(id, settle) {
		this.#waiting.delete(id);
		settle();
	}

	forget(id) {
		this.#waiting.delete(id);
	}

	async close() {
		for (const name of this.#made) await drop(this.#client, name);
	}
}

const drop = (client, name) =>
	client.query('SELECT message_bus.drop_endpoint($1, force => true)', [name]).catch(() => {});

export async function request(client, endpoint, type, body, { timeout = 30000, ...rest } = {}) {
	if (client.inTransaction) {
		throw new EcommerceError('an answer cannot come before the question is committed', {
			hint: 'Call request() on the client, outside of the transaction.' });
	}
	const replyTo = await client.replies.endpoint();
	const id = rest.id ?? randomUUID();
	const answer = client.replies.expect(id, timeout);

	answer.catch(() => {});
	try {
		await client.bus.send(endpoint, type, body, { ...rest, id,
			headers: { ...rest.headers, reply_to: replyTo },
			expiresAt: rest.expiresAt ?? new Date(Date.now() + timeout) });
	} catch (error) {
		client.replies.forget(id);
		throw error;
	}
	return answer;
}
