// Compiled, never run: what the types take and refuse, and that they have what the package has.
import { connect, NEW, VersionConflict, type Decider, type Message } from 'ecommerce-client';
import { given, recorder } from 'ecommerce-client/testing';

interface Contracts {
	Opened: { beds: number };
	Booked: { guest: string; note?: string | null };
}

const db = connect<Contracts>({ host: 'localhost', max: 5, source: 'types' });
const room: Decider<{ beds: number }, Contracts> = {
	initial: { beds: 0 },
	evolve: (state, event) =>
		event.type === 'Opened' ? { beds: event.data.beds } : { beds: state.beds - 1 },
	decide: ({ beds }) => (beds > 0 ? { type: 'Booked', data: { guest: 'ann' } } : []),
};

export async function everything(): Promise<void> {
	await db.store.append('room-1', NEW, { type: 'Opened', data: { beds: 2 } });
	// @ts-expect-error no such type
	await db.store.append('room-1', NEW, { type: 'Closed', data: {} });
	// @ts-expect-error not what Opened has
	await db.store.append('room-1', NEW, { type: 'Opened', data: { guest: 'ann' } });
	// @ts-expect-error the expected version is left out
	await db.store.append('room-1', { type: 'Opened', data: { beds: 2 } });
	for (const event of await db.store.read('room-1')) {
		if (event.type === 'Booked') event.data.guest.toUpperCase();
		// @ts-expect-error not every event has a guest
		event.data.guest;
	}
	const { state, position } = await db.store.handle('room-1', room, { retries: 3 });
	state.beds.toFixed(); position?.toFixed();
	db.bus.consume('desk', {
		Booked: async ({ body }, tx) => {
			body.guest.toUpperCase();
			await tx.bus.publish('Opened', { beds: 1 });
			// @ts-expect-error not what Opened has
			await tx.bus.publish('Opened', { beds: 'two' });
		},
		'*': (message: Message) => message.deliveryId,
	}, { batch: 10, timeout: 1000 });
	const running = db.store.subscribe('s', { category: 'room', onError: 'park' },
		async (event, tx) => { await tx.query('SELECT $1', [event.position]); });
	await running.stop();
	const sum: number = await db.tx({ userId: 'ann' }, async (tx) =>
		(await tx.query<{ n: number }>('SELECT 1 AS n')).rows[0].n);
	try {
		await given<{ beds: number }, Contracts>(room, { type: 'Opened', data: { beds: sum } })
			.when().then({ type: 'Booked', data: { guest: 'ann' } });
	} catch (error) {
		if (error instanceof VersionConflict) error.actualVersion.toFixed();
	}
	recorder().sent[0].endpoint.toUpperCase();
	(await db.saga.get<{ id: string }>('trip', 'x'))?.data.id.toUpperCase();
	// Without contracts everything goes.
	await connect().bus.publish('Whatever', { a: 1 });
	await db.untilSignal();
}
