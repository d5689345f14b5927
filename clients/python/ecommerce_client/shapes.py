"""What comes from the server and goes there, as dataclasses."""
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable, Generic, Iterable, Mapping, TypeVar, Union

State = TypeVar("State")

# Expected versions: the stream is new; any version; it has at least one event.
NEW = 0
ANY = -1
EXISTS = -2


@dataclass(frozen=True)
class NewEvent:
    """An event to be appended. The same id again writes nothing and gives the first answer."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    id: str | None = None
    occurred_at: datetime | None = None
    schema_version: int | None = None

    def row(self) -> dict[str, Any]:
        return {"event_type": self.type, "data": self.data, "metadata": self.metadata,
                "event_id": self.id, "occurred_at": self.occurred_at and
                self.occurred_at.isoformat(), "schema_version": self.schema_version}


Events = Union[NewEvent, Iterable[NewEvent], None]


@dataclass(frozen=True)
class Event:
    """An event as it is read. attempt: of a subscription's handler, 1 at the first try."""

    position: int
    stream: str
    version: int
    id: str
    type: str
    schema_version: int
    data: Any
    metadata: Any
    occurred_at: datetime
    attempt: int = 1

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Event":
        return cls(row["position"], row["stream"], row["version"], str(row["event_id"]),
                   row["event_type"], row["schema_version"], row["data"], row["metadata"],
                   row["occurred_at"], row.get("attempt", 1))


@dataclass(frozen=True)
class Message:
    """A message as a handler gets it. attempt is 1 at the first execution."""

    id: str
    type: str
    schema_version: int
    body: Any
    headers: Any
    correlation_id: str | None
    conversation_id: str | None
    causation_id: str | None
    user_id: str | None
    tenant_id: str | None
    traceparent: str | None
    source: str | None
    sent_at: datetime | None
    deliver_at: datetime | None
    expires_at: datetime | None
    partition_key: str | None
    attempt: int
    endpoint: str
    delivery_id: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Message":
        return cls(str(row["message_id"]), row["message_type"], row["schema_version"],
                   row["body"], row["headers"], _text(row["correlation_id"]),
                   _text(row["conversation_id"]), _text(row["causation_id"]), row["user_id"],
                   row["tenant_id"], row["traceparent"], row["source"], row["sent_at"],
                   row["deliver_at"], row["expires_at"], row["partition_key"], row["attempt"],
                   row["endpoint"], row["delivery_id"])


@dataclass(frozen=True)
class Appended:
    """position is None when nothing was written."""

    version: int
    position: int | None


@dataclass(frozen=True)
class Loaded:
    """An aggregate that the database folds; state is None when there is none."""

    state: Any
    version: int
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True)
class At:
    """What decide() may want to know: the stream's version, and in a transaction tx."""

    version: int
    tx: Any = None


@dataclass(frozen=True)
class Decider(Generic[State]):
    """An aggregate in this language: fold events into a state, decide on it.

    initial: the state before the first event, or a function that makes it. evolve(state, event)
    gets stored events and, at last, those that were decided; both have type and data.
    decide(state, at) should be pure: it is called again when another writer was faster.
    """

    initial: Any
    evolve: Callable[[Any, Any], Any]
    decide: Callable[[Any, At], Any]

    def fold(self, events: Iterable[Any], state: Any = ...) -> Any:
        if state is ...:
            state = self.initial() if callable(self.initial) else self.initial
        for event in events:
            state = self.evolve(state, event)
        return state


@dataclass(frozen=True)
class Handled:
    """What became of a decision."""

    state: Any
    version: int
    position: int | None
    events: list[NewEvent]


@dataclass(frozen=True)
class Instance:
    """A saga's instance."""

    saga: str
    correlation_id: str
    definition_version: int
    state: str
    data: Any
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Instance":
        return cls(row["saga"], str(row["correlation_id"]), row["definition_version"],
                   row["current_state"], row["data"], row["version"], row["created_at"],
                   row["updated_at"])


def as_list(events: Events) -> list[NewEvent]:
    if events is None:
        return []
    return [events] if isinstance(events, NewEvent) else list(events)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
