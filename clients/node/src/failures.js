// What an SQLSTATE means: which class of error it is, and who is to blame.
import {
	BusError, CounterBehind, DuplicateEvent, EcommerceError, EndpointForwards, EndpointFull,
	EndpointInUse, EventsExist, ImmutableEvent, InstanceExists, InvalidCheckpoint,
	InvalidDefinition, InvalidEvent, InvalidMessage, InvalidTemplate, LaneMoved,
	LinkSourceLost, LinkTargetBehind, NoAggregate, NoBridge, NoEndpoint, NoEventHandler,
	NoInstance, NoLink, NoProjection, NoSink, NoSubscription, NoTimer, NotFetched,
	ProjectionMoved, Rejected, SagaConflict, SagaError, SagaInUse, SourceLost, StaleDelivery,
	StoreError, StreamTombstoned, SubscriptionError, TransactionEnded, UndefinedTransition,
	VersionConflict,
} from './errors.js';

const CLASSES = {
	ST001: VersionConflict, ST002: StreamTombstoned, ST003: DuplicateEvent, ST004: InvalidEvent,
	ST005: ImmutableEvent, ST006: CounterBehind, ST007: EventsExist, ST010: NoEventHandler,
	ST011: NoAggregate, ST012: NoProjection, ST013: NoSink, ST020: ProjectionMoved,
	ST021: SourceLost,
	SB001: NoSubscription, SB002: NotFetched, SB003: InvalidCheckpoint,
	MB001: NoEndpoint, MB002: EndpointFull, MB003: StaleDelivery, MB004: EndpointInUse,
	MB005: InvalidMessage, MB006: EndpointForwards, MB007: LaneMoved, MB008: LinkSourceLost,
	MB009: LinkTargetBehind, MB010: NoLink, MB011: NoBridge,
	SG001: NoInstance, SG002: SagaConflict, SG003: InstanceExists, SG004: UndefinedTransition,
	SG005: InvalidTemplate, SG006: NoTimer, SG010: InvalidDefinition, SG011: SagaInUse,
};
const BANDS = { ST: StoreError, SB: SubscriptionError, MB: BusError, SG: SagaError };

// An error of pg as one of ours, if it is one; what is none comes back as it is.
export function translate(error) {
	const state = error?.code;
	const known = typeof state === 'string' && state.length === 5 &&
		(CLASSES[state] ?? BANDS[state.slice(0, 2)]);

	if (!known || error instanceof EcommerceError) return error;
	const ours = new known(error.message, { sqlstate: state, detail: error.detail,
		hint: error.hint, cause: error });
	return Object.assign(ours, properties(error.detail));
}

function properties(detail) {
	let value;

	try {
		value = JSON.parse(detail);
	} catch {
		return {};
	}
	if (Array.isArray(value)) return { problems: value };
	return Object.fromEntries(Object.entries(value ?? {}).map(([key, member]) =>
		[key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), member]));
}

export const sqlstate = (error) => error?.sqlstate ??
	(/^[0-9A-Z]{5}$/.test(error?.code) ? error.code : undefined);

// Another transaction was faster: the same again may succeed.
export const lostRace = (error) =>
	['40001', '40P01', 'ST001', 'ST020', 'MB007', 'SG002'].includes(sqlstate(error));

// The handler is at fault, not the message: no such function, table, column, right.
export const programError = (error) => error instanceof ReferenceError ||
	error instanceof TransactionEnded ||
	/^42|^3F000/.test(sqlstate(error) ?? '');

// The message is at fault, and the same again will fail the same way.
export const finalError = (error) => error instanceof Rejected ||
	/^22|^23|^ST004|^HT/.test(sqlstate(error) ?? '');
