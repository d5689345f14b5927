// Loops that take work, do it, and wait for more; what consumers and subscriptions share.
import { backoff } from './wait.js';

const RESTART_MIN = 100;
const RESTART_MAX = 10000;

// turn(state, signal, more): does what there is, returns how much; state is the loop's own
// object. more() says that there is work, before the turn is over.
// wait(state, signal): returns when there may be more.
// A turn that fails has been rolled back; it is tried again, later each time.
export class Runner {
	#client;
	#name;
	#turn;
	#wait;
	#idle = [];
	#waiting = false;
	#stopping = new AbortController();

	constructor(client, name, concurrency, turn, wait) {
		this.#client = client;
		this.#name = name;
		this.concurrency = concurrency;
		this.#turn = turn;
		this.#wait = wait;
	}

	start() {
		const loops = Array.from({ length: this.concurrency }, () => this.#loop());

		this.done = Promise.all(loops).then(() => {}, (error) => {
			this.#end();
			return Promise.allSettled(loops).then(() => { throw error; });
		});
		this.done.catch(() => {});
		return this;
	}

	// Takes nothing more, and returns when what is in hand has been committed.
	async stop() {
		this.#end();
		await this.done;
	}

	#end() {
		this.#stopping.abort();
		this.#idle.splice(0).forEach((wake) => wake());
	}

	async #loop() {
		const { signal } = this.#stopping;
		const state = { failures: 0 };
		const more = () => {
			state.failures = 0;
			this.#idle.shift()?.();
		};

		while (!signal.aborted) {
			try {
				const count = await this.#turn(state, signal, more);

				state.failures = 0;
				if (count > 0) more();
				else await this.#rest(state, signal);
			} catch (error) {
				if (error.fatal) throw error.cause ?? error;
				this.#client.log.warn(`${this.#name}: ${error.message}; trying again`, error);
				await backoff(state.failures++, RESTART_MIN, RESTART_MAX, signal);
			}
		}
	}

	// One loop waits in the database; the others wait for it, and are woken one by one.
	async #rest(state, signal) {
		if (signal.aborted) return;
		if (this.#waiting) {
			await new Promise((resolve) => { this.#idle.push(resolve); });
			return;
		}
		this.#waiting = true;
		try {
			await this.#wait(state, signal);
		} finally {
			this.#waiting = false;
			// Somebody has to wait for what this loop does not see.
			this.#idle.shift()?.();
		}
	}
}
