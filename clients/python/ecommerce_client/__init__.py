"""Event store, message bus and sagas of the PostgreSQL extension ecommerce, over psycopg 3.

connect() makes a client for programs with threads; ecommerce_client.aio.connect() one for asyncio.
"""
from .errors import (BusError, CounterBehind, DuplicateEvent, EcommerceError, EndpointForwards,
                     EndpointFull, EndpointInUse, EventsExist, HandlerTimeout, ImmutableEvent,
                     InstanceExists, InvalidCheckpoint, InvalidDefinition, InvalidEvent,
                     InvalidMessage, InvalidTemplate, LaneMoved, LinkSourceLost, LinkTargetBehind,
                     NoAggregate, NoBridge, NoEndpoint, NoEventHandler, NoInstance, NoLink,
                     NoProjection, NoSink, NoSubscription, NoTimer, NotFetched, PoolTooSmall,
                     ProjectionMoved, Rejected, RequestTimeout, SagaConflict, SagaError,
                     SagaInUse, SourceLost, StaleDelivery, StoreError, StreamTombstoned,
                     SubscriptionError, TransactionAborted, TransactionEnded, UndefinedTransition,
                     VersionConflict)
from .shapes import (ANY, EXISTS, NEW, Appended, At, Decider, Event, Handled, Instance, Loaded,
                     Message, NewEvent)
from .statements import Context
from .sync import Client, Consumer, Subscription, Transaction, connect

__all__ = [name for name in dir() if not name.startswith("_")]
