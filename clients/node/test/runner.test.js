// Loops end whenever they are told to, without a server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Runner } from '../src/runner.js';

const log = { warn() {} };
const tick = () => new Promise((resolve) => { setImmediate(resolve); });

test('a loop that finds nothing after the others have been told to end does not wait', async () => {
	let release;
	const held = new Promise((resolve) => { release = resolve; });
	let turns = 0;
	const runner = new Runner({ log }, 'x', 3, async () => {
		// The others are still looking when the first one waits, and they are told to end.
		if (++turns > 1) await held;
		return 0;
	}, (_, signal) => new Promise((resolve) => {
		signal.addEventListener('abort', () => setTimeout(resolve, 20));
	})).start();

	await tick();
	const stopped = runner.stop();
	release();
	await stopped;
	assert.equal(turns, 3);
});

test('a turn that fails is tried again, and one that is fatal ends all', async () => {
	let turns = 0;
	const runner = new Runner({ log }, 'x', 1, async () => {
		if (++turns === 1) throw new Error('again');
		throw Object.assign(new Error('end'), { fatal: true });
	}, async () => {}).start();

	await assert.rejects(runner.done, /^Error: end$/);
	assert.equal(turns, 2);
});
