// Types of the test helpers.
import type { AnyContracts, Decider, Decision, FoldedEvent, NewEvent, Transaction } from
	'./index.js';

type Expected<C> = Pick<NewEvent<C>, 'type' | 'data'>;

export interface Outcome<C> {
	/** Exactly these events, by type and data. */
	then(...events: Expected<C>[]): Promise<void>;
	thenNothing(): Promise<void>;
	/** It threw an error of that class, or with such a message; the error. */
	thenFails(expected?: RegExp | (abstract new (...args: any[]) => Error)): Promise<Error>;
}

export interface Given<State, C> {
	readonly state: State;
	/** Without a decision: the decider's own. */
	when(decision?: (state: State, at: { version: number }) => Decision<C> |
		Promise<Decision<C>>): Outcome<C>;
}

export function given<State, C = AnyContracts>(
	decider: Pick<Decider<State, C>, 'initial' | 'evolve'> & Partial<Decider<State, C>>,
	...events: (FoldedEvent<C> | FoldedEvent<C>[])[]): Given<State, C>;

/** A transaction that only notes what a handler does. */
export interface Recorder {
	sent: { endpoint: string; type: string; body: any; options?: object }[];
	published: { type: string; body: any; options?: object }[];
	appended: { stream: string; expectedVersion: number; events: NewEvent[] }[];
	replied: { message: object; type: string; body: any }[];
	queries: { text: string; values?: unknown[] }[];
}

export function recorder(options?: { rows?: object[] }): Recorder & Transaction;
