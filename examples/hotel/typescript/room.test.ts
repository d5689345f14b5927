// The room's decisions, without a database: node --test build/
import { test } from 'node:test';
import { given } from 'ecommerce-client/testing';
import { free, hold, Refused, room } from './hotel.js';

const ann = { booking: 'a', room: '1', night: '2027-01-01', guest: 'ann', key: 'k' };
const bob = { ...ann, booking: 'b', guest: 'bob' };
const opened = { type: 'RoomOpened', data: { beds: 1 } } as const;
const held = { type: 'NightHeld', data: { booking: 'a', night: '2027-01-01',
	guest: { name: 'ann', language: 'en' } } } as const;
const freed = { type: 'NightFreed', data: { booking: 'a', night: '2027-01-01' } } as const;

test('a night is held once', async () => {
	await given(room, opened).when(hold(ann)).then(held);
	await given(room, opened, held).when(hold(bob)).thenFails(Refused);
	await given(room, opened, held).when(hold(ann)).thenNothing();
	await given(room, opened, held, freed).when(hold(ann)).then(held);
	await given(room).when(hold(ann)).thenFails(/no such room/);
});

test('only its own booking is freed', async () => {
	await given(room, opened, held).when(free(ann)).then(freed);
	await given(room, opened, held).when(free(bob)).thenNothing();
});
