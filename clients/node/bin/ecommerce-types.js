#!/usr/bin/env node
// Writes the types of all events and messages that are registered in a database, as TypeScript.
//
// Usage: ecommerce-types [connection string] > contracts.d.ts
// Without one the PG* variables say where.
import pg from 'pg';
import { toTypeScript } from '../src/contracts.js';

const [connectionString, ...more] = process.argv.slice(2);

if (more.length > 0 || connectionString?.startsWith('-')) {
	console.error('usage: ecommerce-types [connection string] > contracts.d.ts');
	process.exit(2);
}
const client = new pg.Client(connectionString ? { connectionString } : {});

try {
	await client.connect();
	const { rows: [{ document }] } = await client.query(
		'SELECT event_store.asyncapi() AS document');

	process.stdout.write(toTypeScript(document));
} catch (error) {
	console.error(`ecommerce-types: ${error.message}`);
	process.exitCode = 1;
} finally {
	await client.end().catch(() => {});
}
