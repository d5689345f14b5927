// Sagas: defining, running, looking at, and what operators do.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { InvalidDefinition, NoInstance, SagaConflict, UndefinedTransition } from '../src/index.js';
import { open, until } from './database.js';

const db = open();
after(() => db.close());

const definition = {
	initial: 'Waiting',
	events: { Asked: { correlate: '$.message.id' }, Answered: { correlate: '$.message.id' } },
	start: { Asked: { set: { id: '$.message.id' }, goto: 'Waiting',
		schedule: { timer: 'patience', delay: '1 hour' } } },
	states: {
		Waiting: { default: 'ignore', on: {
			Answered: { set: { answer: '$.message.text' }, goto: 'Done' },
			'timer:patience': { goto: 'Silent' } } },
		Done: { kind: 'final', default: 'ignore' },
		Silent: { kind: 'final', default: 'ignore' },
	},
};

test('a definition is versioned, and the same is no new one', async () => {
	assert.equal(await db.saga.define('question', definition), 1);
	assert.equal(await db.saga.define('question', definition), 1);
	assert.equal(await db.saga.define('question', { ...definition, retain_for: '1 day' }), 2);
	assert.match(await db.saga.diagram('question'), /^stateDiagram-v2/);
	assert.match(await db.saga.diagram('question', 'dot'), /^digraph/);
	assert.deepEqual((await db.saga.verify('question')).filter(({ severity }) =>
		severity === 'error'), []);
	await assert.rejects(db.saga.define('bad', { initial: 'A', events: {}, start: {},
		states: {} }), (error) => error instanceof InvalidDefinition && error.problems.length > 0);
});

test('the worker runs it', async () => {
	const id = randomUUID();

	await db.bus.publish('Asked', { id });
	await until('it waits', async () => (await db.saga.get('question', id))?.state === 'Waiting');
	await db.bus.publish('Answered', { id, text: '42' });
	await until('it is done', async () => (await db.saga.get('question', id)).state === 'Done');
	const instance = await db.saga.get('question', id);
	assert.equal(instance.data.answer, '42');
	assert.equal(instance.correlationId, id);
	assert.deepEqual((await db.saga.history('question', id)).map(({ from, to, event }) =>
		[from, to, event]), [[null, 'Waiting', 'Asked'], ['Waiting', 'Done', 'Answered']]);
	assert.equal(await db.saga.get('question', randomUUID()), null);
});

test('the repository', async () => {
	const id = randomUUID();
	const made = await db.saga.create('question', id, { id }, 'Waiting');

	assert.equal(made.version, 1);
	assert.equal(await db.saga.update('question', id, 1, 'Waiting', { id, note: 1 }), 2);
	await assert.rejects(db.saga.update('question', id, 1, 'Waiting', {}), SagaConflict);
	assert.equal(await db.saga.goto('question', id, 'Silent', 'no need'), 3);
	await assert.rejects(db.saga.cancel('question', id, 'no need'), UndefinedTransition);
	assert.equal(await db.saga.delete('question', id), true);
	await assert.rejects(db.saga.goto('question', id, 'Done', 'because'), NoInstance);
});
