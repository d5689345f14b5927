"""Event store, message bus and sagas of the PostgreSQL extension ecommerce, over psycopg 3.

connect() makes a client for programs with threads; ecommerce_client.aio.connect() one for asyncio.
"""
from .errors import (BusError, DuplicateEvent, EcommerceError, EndpointFull, EndpointInUse,
                     HandlerTimeout, ImmutableEvent, InstanceExists, InvalidCheckpoint,
                     InvalidDefinition, InvalidEvent, InvalidMessage, InvalidTemplate, NoAggregate,
                     NoEndpoint, NoEventHandler, NoInstance, NoProjection, NoSubscription, NoTimer,
                     NotFetched, PoolTooSmall, Rejected, RequestTimeout, SagaConflict, SagaError,
                     SagaInUse, StaleDelivery, StoreError, StreamTombstoned, SubscriptionError,
                     TransactionAborted, TransactionEnded, UndefinedTransition, VersionConflict)
from .shapes import (ANY, EXISTS, NEW, Appended, At, Decider, Event, Handled, Instance, Loaded,
                     Message, NewEvent)
from .statements import Context
from .sync import Client, Consumer, Subscription, Transaction, connect

__all__ = [name for name in dir() if not name.startswith("_")]
