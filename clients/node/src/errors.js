// Errors of the database as classes, by SQLSTATE, with detail and hint.
//
// What has a class here is raised by the extension; any other error of the server stays the
// DatabaseError of pg. A detail that is a JSON object is given as properties, in camel case.

export class EcommerceError extends Error {
	constructor(message, { sqlstate, detail, hint, cause } = {}) {
		super(message, { cause });
		this.name = new.target.name;
		this.sqlstate = sqlstate;
		this.detail = detail;
		this.hint = hint;
	}
}

export class StoreError extends EcommerceError {}
export class VersionConflict extends StoreError {}
export class StreamTombstoned extends StoreError {}
export class DuplicateEvent extends StoreError {}
export class InvalidEvent extends StoreError {}
export class ImmutableEvent extends StoreError {}
export class CounterBehind extends StoreError {}
export class EventsExist extends StoreError {}
export class NoEventHandler extends StoreError {}
export class NoAggregate extends StoreError {}
export class NoProjection extends StoreError {}
export class NoSink extends StoreError {}
export class ProjectionMoved extends StoreError {}
export class SourceLost extends StoreError {}

export class SubscriptionError extends EcommerceError {}
export class NoSubscription extends SubscriptionError {}
export class NotFetched extends SubscriptionError {}
export class InvalidCheckpoint extends SubscriptionError {}

export class BusError extends EcommerceError {}
export class NoEndpoint extends BusError {}
export class EndpointFull extends BusError {}
export class StaleDelivery extends BusError {}
export class EndpointInUse extends BusError {}
export class InvalidMessage extends BusError {}
export class EndpointForwards extends BusError {}
export class LaneMoved extends BusError {}
export class LinkSourceLost extends BusError {}
export class LinkTargetBehind extends BusError {}
export class NoLink extends BusError {}
export class NoBridge extends BusError {}

export class SagaError extends EcommerceError {}
export class NoInstance extends SagaError {}
export class SagaConflict extends SagaError {}
export class InstanceExists extends SagaError {}
export class UndefinedTransition extends SagaError {}
export class InvalidTemplate extends SagaError {}
export class NoTimer extends SagaError {}
export class InvalidDefinition extends SagaError {}
export class SagaInUse extends SagaError {}

// Raised by this package, not by the server.
export class TransactionAborted extends EcommerceError {}
export class TransactionEnded extends EcommerceError {}
export class RequestTimeout extends EcommerceError {}
export class HandlerTimeout extends EcommerceError {}
export class PoolTooSmall extends EcommerceError {}

// What a handler throws when the message itself is to blame: it is not tried again.
export class Rejected extends EcommerceError {
	constructor(code, message) {
		super(message ?? code);
		this.code = code;
	}
}
