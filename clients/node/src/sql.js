// How statements reach the server: one at a time, or several in one piece.
//
// No prepared statements with names, no LISTEN, no session settings: so that any statement may
// go to another backend, as behind a pooler in transaction mode.
import pg from 'pg';
import { translate } from './failures.js';

export const literal = (value) =>
	value === undefined || value === null ? 'NULL' : pg.escapeLiteral(String(value));
export const json = (value) => JSON.stringify(value ?? null);

// One statement; parameters travel beside it.
export async function query(connection, text, values) {
	try {
		return await connection.query(text, values);
	} catch (error) {
		throw translate(error);
	}
}

// Calls work with a connection of the pool. An error rolls back; a connection on which even that
// fails is not used again.
export async function holding(pool, work) {
	const connection = await pool.connect();
	let broken;

	try {
		return await work(connection);
	} catch (error) {
		await connection.query('ROLLBACK').catch((failure) => { broken = failure; });
		throw error;
	} finally {
		connection.release(broken);
	}
}

// Several statements in one round trip; the results in their order.
export async function script(connection, ...statements) {
	const results = await query(connection, statements.join('; '));

	return Array.isArray(results) ? results : [results];
}

// A call with named arguments: those that are undefined keep the server's default.
export function call(name, named) {
	const given = Object.entries(named).filter(([, value]) => value !== undefined);
	const list = given.map(([key], i) => `${key} => $${i + 1}`).join(', ');

	return [`${name}(${list})`, given.map(([, value]) => value)];
}

// bigint comes as text; positions and versions are counted, never near 2^53.
export function whole(value) {
	const number = Number(value);

	if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is too large a number`);
	return number;
}

export const BEGIN = 'BEGIN';

// BEGIN, who acts and why, and the settings of this transaction.
export function beginning(context, { isolation, source, timeout } = {}) {
	const statements = [isolation ? `BEGIN ISOLATION LEVEL ${level(isolation)}` : BEGIN];
	const settings = [];

	if (source) settings.push(`set_config('ecommerce.source', ${literal(source)}, true)`);
	if (timeout) {
		settings.push(`set_config('statement_timeout', '${whole(timeout)}', true)`,
			`set_config('idle_in_transaction_session_timeout', '${whole(timeout) + 5000}', true)`);
	}
	if (settings.length) statements.push(`SELECT ${settings.join(', ')}`);
	if (context && Object.keys(context).length) statements.push(contextCall(context));
	return statements;
}

function contextCall({ correlationId, causationId, userId, tenantId, headers, traceparent,
	conversationId }) {
	// The last parameter has not been there from the first version on.
	const conversation = conversationId ? `, ${literal(conversationId)}::uuid` : '';

	return `SELECT ecommerce.set_context(${literal(correlationId)}::uuid, ` +
		`${literal(causationId)}::uuid, ${literal(userId)}, ${literal(tenantId)}, ` +
		`${literal(json(headers ?? {}))}::jsonb, ${literal(traceparent)}${conversation})`;
}

function level(isolation) {
	const known = /^(read committed|repeatable read|serializable)$/i;

	if (!known.test(isolation)) throw new RangeError(`no such isolation level: ${isolation}`);
	return isolation;
}
