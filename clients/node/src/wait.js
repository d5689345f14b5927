// Waiting: for a time, and in the database for something to do.
import pg from 'pg';
import { query } from './sql.js';

export const sleep = (ms, signal) => new Promise((resolve) => {
	if (signal?.aborted) return resolve();
	const timer = setTimeout(resolve, ms);

	signal?.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

// Longer with each attempt (from 0), and at random, so that rivals do not meet again.
export const backoff = (attempt, min, max, signal) =>
	sleep(Math.min(max, min * 2 ** Math.min(attempt, 20)) * (0.5 + Math.random()), signal);

// CALL statement(values), until it returns or the signal ends it. Holds a connection of the
// pool, but no transaction and no snapshot.
export async function waitInDatabase(pool, statement, values, signal) {
	if (signal.aborted) return undefined;
	const connection = await pool.connect();

	if (signal.aborted) {
		connection.release();
		return undefined;
	}
	const waiting = query(connection, statement, values);
	const cancelled = () => {
		cancel(connection);
		// The first may come before the statement.
		again = setInterval(() => cancel(connection), 200);
	};
	let broken;
	let again;

	signal.addEventListener('abort', cancelled, { once: true });
	try {
		return (await waiting).rows[0];
	} catch (error) {
		if (signal.aborted) return undefined;
		broken = error;
		throw error;
	} finally {
		signal.removeEventListener('abort', cancelled);
		clearInterval(again);
		// A cancel that comes late must not hit a statement of somebody else.
		connection.release(signal.aborted ? true : broken);
	}
}

// Asks the server to end what runs on a connection, as psql does on Ctrl-C.
function cancel({ host, port, processID, secretKey }) {
	const messenger = new pg.Connection();

	messenger.on('error', () => {});
	messenger.on('connect', () => messenger.cancel(processID, secretKey));
	if (host.startsWith('/')) messenger.connect(`${host}/.s.PGSQL.${port}`);
	else messenger.connect(port, host);
}
