// The declarations say what the package has: the compiler, and a comparison of names.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import * as all from '../src/index.js';
import { open } from './database.js';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const compile = (...words) => execFileSync(process.execPath,
	[path('../node_modules/typescript/bin/tsc'), ...words], { encoding: 'utf8' });
const declared = readFileSync(path('../types/index.d.ts'), 'utf8');
const db = open();

after(() => db.close());

test('what users write is taken or refused by the compiler', () => {
	compile('-p', path('types/tsconfig.json'));
});

test('everything exported is declared, and the other way round', () => {
	const names = [...declared.matchAll(/^export (?:class|const|function) (\w+)/gm)];

	assert.deepEqual(names.map(([, name]) => name).sort(), Object.keys(all).sort());
});

test('every method is declared where it is, and the other way round', () => {
	const interfaces = { Store: db.store, Bus: db.bus, Sagas: db.saga };

	for (const [name, object] of Object.entries(interfaces)) {
		const [, body] = declared.match(
			new RegExp(`^export interface ${name}\\b[^{]*\\{\\n(.*?)^\\}`, 'ms'));
		const members = [...body.matchAll(/^\t(\w+)[<(]/gm)].map(([, member]) => member);
		const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(object))
			.filter((method) => method !== 'constructor');

		assert.deepEqual(members.sort(), methods.sort());
	}
});

test('ecommerce-types writes what the compiler takes', async () => {
	await db.query(`CREATE TYPE room_opened AS (beds int, tags text[]);
		SELECT event_store.register_event_type('Opened', 'room_opened')`);
	const run = (...words) => spawnSync(process.execPath,
		[path('../bin/ecommerce-types.js'), ...words], { encoding: 'utf8' });
	const { stdout, status } = run();

	assert.equal(status, 0);
	assert.match(stdout, /\tOpened: PublicRoomOpened;/);
	assert.match(stdout, /\tbeds\?: number \| null;\n\ttags\?: Array<string \| null> \| null;/);
	assert.equal(run('-x').status, 2);
	const wrong = run(`postgresql:///nowhere?host=${process.env.PGHOST}`);
	assert.equal(wrong.status, 1);
	assert.match(wrong.stderr, /^ecommerce-types: /);
});
