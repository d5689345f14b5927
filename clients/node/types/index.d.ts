// Types of the client. Contracts: a map from type names to their data, as ecommerce-types writes
// it; without one every body is JSON.
import type { Pool, PoolConfig, QueryResult, QueryResultRow } from 'pg';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };
export type AnyContracts = Record<string, any>;
type Name<C> = Extract<keyof C, string>;

/** An event to be appended. */
export type NewEvent<C = AnyContracts> = {
	[T in Name<C>]: {
		type: T;
		data: C[T];
		metadata?: Record<string, Json>;
		/** The same id again writes nothing and gives the first answer. */
		id?: string;
		occurredAt?: Date | string;
		schemaVersion?: number;
	}
}[Name<C>];

/** An event as it is read; its type says what its data is. */
export type StoredEvent<C = AnyContracts> = {
	[T in Name<C>]: {
		position: number;
		stream: string;
		version: number;
		id: string;
		type: T;
		schemaVersion: number;
		data: C[T];
		metadata: Record<string, any>;
		occurredAt: Date;
	}
}[Name<C>];

/** An event as the handler of a subscription gets it. */
export type FetchedEvent<C = AnyContracts> = StoredEvent<C> & {
	/** 1 at the first try. */
	attempt: number;
};

/** What a decider is folded over: stored events, and those it has just decided. */
export type FoldedEvent<C = AnyContracts> = {
	[T in Name<C>]: { type: T; data: C[T]; version?: number }
}[Name<C>];

/** A message as a handler gets it. */
export interface Message<Body = any, Type extends string = string> {
	id: string;
	type: Type;
	schemaVersion: number;
	body: Body;
	headers: Record<string, any>;
	correlationId: string;
	conversationId: string;
	causationId: string | null;
	userId: string | null;
	tenantId: string | null;
	traceparent: string | null;
	source: string | null;
	sentAt: Date;
	deliverAt: Date | null;
	expiresAt: Date | null;
	partitionKey: string | null;
	/** 1 at the first execution. */
	attempt: number;
	endpoint: string;
	/** The receipt: opaque, new with each delivery. */
	deliveryId: string;
}

/** Who acts and why: stamped on every event and message of the transaction. */
export interface Context {
	correlationId?: string;
	causationId?: string;
	userId?: string;
	tenantId?: string;
	headers?: Record<string, Json>;
	traceparent?: string;
	/** Several processes that belong together; by default the correlation id. */
	conversationId?: string;
}

export interface Appended {
	version: number;
	/** Of the last event; null when nothing was written. */
	position: number | null;
}

/** An aggregate in this language: fold events into a state, decide on it. */
export interface Decider<State, C = AnyContracts> {
	initial: State | (() => State);
	evolve(state: State, event: FoldedEvent<C>): State;
	/** Pure, if it can be: it is called again when another writer was faster. tx: with context. */
	decide(state: State, at: { version: number; tx?: Transaction<C> }): Decision<C> |
		Promise<Decision<C>>;
}

export type Decision<C = AnyContracts> = NewEvent<C> | readonly NewEvent<C>[] | undefined | null |
	void;

export interface Handled<State, C = AnyContracts> extends Appended {
	state: State;
	events: NewEvent<C>[];
}

export interface SubscriptionOptions {
	category?: string;
	stream?: string;
	types?: string[];
	/** How many consumers can work at once, in all processes. */
	partitions?: number;
	/** What events of a partition have in common, if not the stream: '$.customer_id', '$metadata.region'. */
	partitionBy?: string;
	startAfter?: number;
	/** The server itself puts an event aside that has failed so often, in all processes, killed ones too. */
	parkAfter?: number;
}

/** Of what createSubscription() was told, nothing need be said again. */
export interface SubscribeOptions extends SubscriptionOptions {
	/** Loops of this process; 1. */
	concurrency?: number;
	/** Events per transaction; 100. */
	batch?: number;
	/** How often a failed event is tried again before onError applies; 3. */
	retries?: number;
	/** stop: `done` fails with the error. park: the event is put aside, and the others go on. */
	onError?: 'stop' | 'park';
	/** Milliseconds after which an idle wait begins anew; 30000. */
	wait?: number;
}

export interface Running {
	/** Ends when it has been stopped, fails when it cannot go on. */
	readonly done: Promise<void>;
	/** Takes nothing more; returns when what is in hand has been committed. */
	stop(): Promise<void>;
}

export interface Store<C = AnyContracts> {
	/** `SELECT version, "position" FROM event_store.append_json($1, $2, $3)` */
	append(stream: string, expectedVersion: number,
		events: NewEvent<C> | readonly NewEvent<C>[]): Promise<Appended>;
	/** `SELECT * FROM event_store.read_stream(...)` */
	read(stream: string, options?: { from?: number; max?: number; backward?: boolean }):
		Promise<StoredEvent<C>[]>;
	/** `SELECT * FROM event_store.read_all(...)` */
	readAll(options?: { after?: number; max?: number; category?: string; types?: string[] }):
		Promise<StoredEvent<C>[]>;
	/** `SELECT * FROM event_store.load(...)`: an aggregate that the database folds. */
	load<State = any>(stream: string,
		options?: { atVersion?: number; atTime?: Date; atRecorded?: Date; forUpdate?: boolean }):
		Promise<{
			state: State | null; version: number; createdAt: Date | null; updatedAt: Date | null;
		}>;
	/** `SELECT event_store.stream_version($1)` */
	version(stream: string): Promise<number>;
	/** `SELECT event_store.check_version($1, $2)`: holds until commit, for a stream that is not written. */
	check(stream: string, expectedVersion: number): Promise<void>;
	/**
	 * read, decide, append; again when another writer was faster. With a context, all of it is a
	 * transaction, and decide gets it. Deciders in transactions wait for each other
	 * (pg_advisory_xact_lock), so that there is no storm of retries.
	 */
	handle<State>(stream: string, decider: Decider<State, C>,
		options?: { retries?: number; context?: Context }): Promise<Handled<State, C>>;
	/** `SELECT event_store.create_subscription(...)`; the same call again does nothing. */
	createSubscription(name: string, options?: SubscriptionOptions): Promise<void>;
	/** `BEGIN; SELECT * FROM event_store.fetch(...)`, handlers, `advance(...); COMMIT` per batch. */
	subscribe(name: string, options: SubscribeOptions,
		handler: (event: FetchedEvent<C>, tx: Transaction<C>) => unknown): Running;
}

export interface SendOptions {
	/** Your own id: the same again at the same endpoint is not stored. */
	id?: string;
	/** Messages with one key are delivered in order; default the correlation id. */
	key?: string;
	deliverAt?: Date;
	expiresAt?: Date;
	headers?: Record<string, Json>;
	schemaVersion?: number;
}

export interface EndpointOptions {
	lanes?: number;
	retry?: Record<string, Json>;
	breaker?: string | Record<string, Json>;
	/** An interval, such as '30 s'. */
	timeout?: string;
	order?: 'relaxed' | 'strict';
	/** Types whose published messages it gets. */
	subscribe?: string[];
}

export interface ConsumeOptions {
	/** Messages per transaction; 50. */
	batch?: number;
	/** Loops of this process; 1. */
	concurrency?: number;
	/** Milliseconds for a handler; default the endpoint's timeout. */
	timeout?: number;
	/** Milliseconds after which an idle wait begins anew; 30000. */
	wait?: number;
	/** Hears of every failure, when the bus has it. */
	onError?(error: Error, message: Message): void;
}

export type Handlers<C = AnyContracts> = {
	[T in Name<C>]?: (message: Message<C[T], T>, tx: Transaction<C>) => unknown
} & { '*'?: (message: Message, tx: Transaction<C>) => unknown };

export interface Bus<C = AnyContracts> {
	/** `SELECT message_bus.send(...)`: to one endpoint; the message's id. */
	send<T extends Name<C>>(endpoint: string, type: T, body: C[T], options?: SendOptions):
		Promise<string>;
	/** `SELECT message_bus.publish(...)`: to all who have subscribed; the message's id. */
	publish<T extends Name<C>>(type: T, body: C[T], options?: SendOptions): Promise<string>;
	/** send, and wait for what the handler says with reply(). Not in a transaction. */
	request<T extends Name<C>>(endpoint: string, type: T, body: C[T],
		options?: SendOptions & { timeout?: number }): Promise<Message>;
	/** Answers a request; null if the message is none. */
	reply<T extends Name<C>>(message: Message, type: T, body: C[T], options?: SendOptions):
		Promise<string | null>;
	/** `SELECT message_bus.cancel_scheduled($1)` */
	cancel(id: string): Promise<boolean>;
	/** `SELECT message_bus.create_endpoint(...)`, unless it is there, and `subscribe(...)`. */
	createEndpoint(name: string, options?: EndpointOptions): Promise<void>;
	/** `SELECT message_bus.redrive($1, $2)`: how many came back. */
	redrive(id: string, body?: Json): Promise<number>;
	/** `BEGIN; SELECT * FROM message_bus.receive(...)`, handlers, `ack(...); COMMIT` per batch. */
	consume(endpoint: string, handlers: Handlers<C>, options?: ConsumeOptions): Running;
}

export interface SagaInstance<Data = any> {
	saga: string;
	correlationId: string;
	definitionVersion: number;
	state: string;
	data: Data;
	version: number;
	createdAt: Date;
	updatedAt: Date;
}

export interface Sagas {
	/** `SELECT saga.define($1, $2)`, unless it is the current version already: the version. */
	define(name: string, definition: object): Promise<number>;
	verify(name: string): Promise<{ severity: string; state: string | null;
		event: string | null; problem: string }[]>;
	diagram(name: string, format?: 'mermaid' | 'dot'): Promise<string>;
	get<Data = any>(saga: string, correlationId: string): Promise<SagaInstance<Data> | null>;
	create<Data = any>(saga: string, correlationId: string, data?: Data, state?: string):
		Promise<SagaInstance<Data>>;
	update(saga: string, correlationId: string, expectedVersion: number, newState: string,
		data: object): Promise<number>;
	delete(saga: string, correlationId: string): Promise<boolean>;
	history(saga: string, correlationId: string): Promise<{ version: number;
		from: string | null; to: string; event: string; messageId: string | null; actions: any;
		at: Date; actor: string | null; reason: string | null }[]>;
	simulate(saga: string, scenario: object, schedules?: number): Promise<any>;
	migrate(name: string, correlationId: string | null, toVersion: number,
		stateMap?: Record<string, string>): Promise<number>;
	retry(saga: string, correlationId: string): Promise<number>;
	goto(saga: string, correlationId: string, state: string, reason: string): Promise<number>;
	cancel(saga: string, correlationId: string, reason: string): Promise<number>;
	run(maxMessages?: number): Promise<number>;
	fireDue(asOf?: Date): Promise<number>;
}

interface Api<C> {
	readonly store: Store<C>;
	readonly bus: Bus<C>;
	readonly saga: Sagas;
	/** A statement of your own; parameters as in pg. */
	query<Row extends QueryResultRow = any>(text: string, values?: unknown[]):
		Promise<QueryResult<Row>>;
}

/** What is done through it commits together. Of use until the function that got it returns. */
export interface Transaction<C = AnyContracts> extends Api<C> {
	/** Aborted when the handler's time is over. */
	readonly signal?: AbortSignal;
}

export interface ClientOptions extends Omit<PoolConfig, 'log'> {
	/** A pool of your own, which close() leaves open. */
	pool?: Pool;
	/** Stamped as source on what transactions of this client write. */
	source?: string;
	log?: { warn(text: string, error?: unknown): void };
}

export class Client<C = AnyContracts> implements Api<C> {
	constructor(options?: ClientOptions);
	readonly pool: Pool;
	readonly store: Store<C>;
	readonly bus: Bus<C>;
	readonly saga: Sagas;
	query<Row extends QueryResultRow = any>(text: string, values?: unknown[]):
		Promise<QueryResult<Row>>;
	/** `BEGIN; SELECT ecommerce.set_context(...)`, fn, `COMMIT`; an error rolls back. */
	tx<T>(context: Context | null, fn: (tx: Transaction<C>) => Promise<T>,
		options?: { isolation?: 'read committed' | 'repeatable read' | 'serializable' }):
		Promise<T>;
	/** Stops what runs, when its work in hand is done, and ends the pool. */
	close(): Promise<void>;
	/** Returns on SIGTERM or SIGINT after close(); fails when a consumer or subscription has. */
	untilSignal(...signals: NodeJS.Signals[]): Promise<void>;
}

export function connect<C = AnyContracts>(options?: ClientOptions): Client<C>;

/** Expected versions: the stream is new; any version; it has at least one event. */
export const NEW: 0;
export const ANY: -1;
export const EXISTS: -2;

export class EcommerceError extends Error {
	constructor(message: string, options?: { sqlstate?: string; detail?: string; hint?: string;
		cause?: unknown });
	/** Five characters; undefined where the error is this package's own. */
	readonly sqlstate?: string;
	readonly detail?: string;
	/** What to do about it. */
	readonly hint?: string;
}

export class StoreError extends EcommerceError {}
/** ST001: read again, decide again, append with the version you then have. */
export class VersionConflict extends StoreError {
	readonly stream: string;
	readonly expectedVersion: number;
	readonly actualVersion: number;
}
/** ST002 */
export class StreamTombstoned extends StoreError {}
/** ST003 */
export class DuplicateEvent extends StoreError {}
/** ST004: an event or message breaks its contract, or cannot be stored. */
export class InvalidEvent extends StoreError {}
/** ST005 */
export class ImmutableEvent extends StoreError {}
/** ST006: a counter stands behind the data, as after a restore. */
export class CounterBehind extends StoreError {}
/** ST007: what is to be dropped has events. */
export class EventsExist extends StoreError {}
/** ST010 */
export class NoEventHandler extends StoreError {}
/** ST011 */
export class NoAggregate extends StoreError {}
/** ST012 */
export class NoProjection extends StoreError {}
/** ST013 */
export class NoSink extends StoreError {}
/** ST020: somebody else has brought the events; look where it is now. */
export class ProjectionMoved extends StoreError {}
/** ST021: the source no longer holds what was read from it. */
export class SourceLost extends StoreError {}

export class SubscriptionError extends EcommerceError {}
/** SB001 */
export class NoSubscription extends SubscriptionError {}
/** SB002 */
export class NotFetched extends SubscriptionError {}
/** SB003 */
export class InvalidCheckpoint extends SubscriptionError {}

export class BusError extends EcommerceError {}
/** MB001 */
export class NoEndpoint extends BusError {}
/** MB002: back-pressure, nothing was stored. */
export class EndpointFull extends BusError {}
/** MB003: the delivery was settled, or has passed to another consumer. */
export class StaleDelivery extends BusError {}
/** MB004 */
export class EndpointInUse extends BusError {}
/** MB005 */
export class InvalidMessage extends BusError {}
/** MB006: its messages leave over a link or bridge. */
export class EndpointForwards extends BusError {}
/** MB007: somebody else has brought the messages; go on from `message_bus.link_position()`. */
export class LaneMoved extends BusError {}
/** MB008: the source is older than it was. */
export class LinkSourceLost extends BusError {}
/** MB009: the target is older than it was. */
export class LinkTargetBehind extends BusError {}
/** MB010 */
export class NoLink extends BusError {}
/** MB011 */
export class NoBridge extends BusError {}

export class SagaError extends EcommerceError {}
/** SG001 */
export class NoInstance extends SagaError {}
/** SG002 */
export class SagaConflict extends SagaError {}
/** SG003 */
export class InstanceExists extends SagaError {}
/** SG004 */
export class UndefinedTransition extends SagaError {}
/** SG005 */
export class InvalidTemplate extends SagaError {}
/** SG006 */
export class NoTimer extends SagaError {}
/** SG010 */
export class InvalidDefinition extends SagaError {
	readonly problems?: { severity: string; state: string | null; event: string | null;
		problem: string }[];
}
/** SG011 */
export class SagaInUse extends SagaError {}

/** A statement had failed and its error was caught: nothing was committed. */
export class TransactionAborted extends EcommerceError {}
/** Something was done through a transaction that had ended: an await is missing. */
export class TransactionEnded extends EcommerceError {}
export class RequestTimeout extends EcommerceError {}
export class HandlerTimeout extends EcommerceError {}
export class PoolTooSmall extends EcommerceError {}
/** Thrown by a handler: the message is to blame, and goes to the dead letters at once. */
export class Rejected extends EcommerceError {
	constructor(code: string, message?: string);
	readonly code: string;
}
