// A hotel: rooms are booked by a saga, which holds the night and charges the card, and frees the
// night again when the card is refused. Usage: node build/hotel.js
//     install | open ROOM BEDS | book ROOM NIGHT GUEST CARD | serve
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { connect, NEW, type Decider, type Message, type NewEvent, type Transaction } from
	'ecommerce-client';
import type { Contracts } from './contracts.js';

type Events = Pick<Contracts, 'RoomOpened' | 'NightHeld' | 'NightFreed'>;
type Hold = Contracts['HoldRoom'];
type Tx = Transaction<Contracts>;

const db = connect<Contracts>({ max: 12, source: 'hotel' });

// ------------------------------------------------------------------ the room, an aggregate
export interface Room {
	open: boolean;
	/** Who has which night. */
	nights: Record<string, string>;
}

export const room: Pick<Decider<Room, Events>, 'initial' | 'evolve'> = {
	initial: { open: false, nights: {} },
	evolve(state, { type, data }) {
		if (type === 'RoomOpened') return { ...state, open: true };
		if (type === 'NightHeld') {
			return { ...state, nights: { ...state.nights, [data.night]: data.booking } };
		}
		const { [data.night]: _, ...nights } = state.nights;
		return { ...state, nights };
	},
};

export class Refused extends Error {}

/** The same booking again gives the same answer: a command may come twice. */
export const hold = ({ booking, night, guest }: Hold) =>
	(state: Room): NewEvent<Events> | undefined => {
		if (!state.open) throw new Refused('there is no such room');
		if (state.nights[night] === booking) return undefined;
		if (night in state.nights) throw new Refused('that night is taken');
		return { type: 'NightHeld', data: { booking, night,
			guest: { name: guest ?? '', language: 'en' } } };
	};

export const free = ({ booking, night }: Hold) => (state: Room): NewEvent<Events> | undefined =>
	(state.nights[night] === booking ? { type: 'NightFreed', data: { booking, night } } : undefined);

// ------------------------------------------------------------------ services that the saga asks
const answer = (tx: Tx, type: 'RoomHeld' | 'RoomRefused' | 'RoomFreed' | 'CardCharged' |
	'CardRefused', { booking, key }: { booking: string; key: string }) =>
	tx.bus.publish(type, { booking, key }, { key: booking });

const rooms = {
	async HoldRoom({ body }: Message<Hold>, tx: Tx) {
		try {
			await tx.store.handle(`room-${body.room}`, { ...room, decide: hold(body) });
			await answer(tx, 'RoomHeld', body);
		} catch (error) {
			if (!(error instanceof Refused)) throw error;
			await answer(tx, 'RoomRefused', body);
		}
	},
	async FreeRoom({ body }: Message<Hold>, tx: Tx) {
		await tx.store.handle(`room-${body.room}`, { ...room, decide: free(body) });
		await answer(tx, 'RoomFreed', body);
	},
};

const cards = {
	ChargeCard: ({ body }: Message<Contracts['ChargeCard']>, tx: Tx) =>
		answer(tx, body.card === 'stolen' ? 'CardRefused' : 'CardCharged', body),
};

// ------------------------------------------------------------------ the programs
const commands: Record<string, (...words: string[]) => Promise<unknown>> = {
	async install() {
		await db.bus.createEndpoint('rooms');
		await db.bus.createEndpoint('cards');
		await db.store.createSubscription('occupancy', { category: 'room', partitions: 8 });
		await db.saga.define('booking', JSON.parse(readFileSync(
			new URL('../../booking.json', import.meta.url), 'utf8')));
	},

	open: (name, beds) => db.store.append(`room-${name}`, NEW,
		{ type: 'RoomOpened', data: { beds: Number(beds) } }),

	async book(name, night, guest, card) {
		const booking = randomUUID();

		await db.tx({ correlationId: booking, userId: guest }, (tx) =>
			tx.bus.publish('BookingRequested', { booking, room: name, night, guest, card }));
		console.log(booking);
	},

	async serve() {
		db.bus.consume('rooms', rooms, { concurrency: 2 });
		db.bus.consume('cards', cards);
		db.store.subscribe('occupancy', { category: 'room', concurrency: 2 }, async (event, tx) => {
			if (event.type === 'NightHeld') {
				await tx.query('INSERT INTO hotel.occupancy VALUES ($1, $2, $3)',
					[event.stream, event.data.night, event.data.guest?.name]);
			} else if (event.type === 'NightFreed') {
				await tx.query('DELETE FROM hotel.occupancy WHERE room = $1 AND night = $2',
					[event.stream, event.data.night]);
			}
		});
		await db.untilSignal();
	},
};

const [command = '', ...words] = process.argv.slice(2);

if (command in commands) {
	await commands[command](...words);
	await db.close();
}
