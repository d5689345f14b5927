"""Errors of the database as classes, by SQLSTATE, and who is to blame.

What has a class here is raised by the extension; any other error of the server stays psycopg's.
A detail that is a JSON object is given as attributes.
"""
from __future__ import annotations

import json
from typing import Any


class EcommerceError(Exception):
    """Above all errors of this package and of the extension."""

    def __init__(self, message: str, *, sqlstate: str | None = None, detail: str | None = None,
                 hint: str | None = None):
        super().__init__(message)
        self.sqlstate = sqlstate
        self.detail = detail
        self.hint = hint

    expected_version: int
    actual_version: int
    stream: str
    problems: list[dict[str, Any]]


class StoreError(EcommerceError):
    """See its subclasses."""


class VersionConflict(StoreError):
    """ST001: read again, decide again, append with the version you then have."""


class StreamTombstoned(StoreError):
    """ST002"""


class DuplicateEvent(StoreError):
    """ST003"""


class InvalidEvent(StoreError):
    """ST004: an event or message breaks its contract, or cannot be stored."""


class ImmutableEvent(StoreError):
    """ST005"""


class CounterBehind(StoreError):
    """ST006: a counter stands behind the data, as after a restore."""


class EventsExist(StoreError):
    """ST007: what is to be dropped has events."""


class NoEventHandler(StoreError):
    """ST010"""


class NoAggregate(StoreError):
    """ST011"""


class NoProjection(StoreError):
    """ST012"""


class NoSink(StoreError):
    """ST013"""


class ProjectionMoved(StoreError):
    """ST020: somebody else has brought the events; look where it is now."""


class SourceLost(StoreError):
    """ST021: the source no longer holds what was read from it."""


class SubscriptionError(EcommerceError):
    """See its subclasses."""


class NoSubscription(SubscriptionError):
    """SB001"""


class NotFetched(SubscriptionError):
    """SB002"""


class InvalidCheckpoint(SubscriptionError):
    """SB003"""


class BusError(EcommerceError):
    """See its subclasses."""


class NoEndpoint(BusError):
    """MB001"""


class EndpointFull(BusError):
    """MB002: back-pressure, nothing was stored."""


class StaleDelivery(BusError):
    """MB003: the delivery was settled, or has passed to another consumer."""


class EndpointInUse(BusError):
    """MB004"""


class InvalidMessage(BusError):
    """MB005"""


class EndpointForwards(BusError):
    """MB006: its messages leave over a link or bridge."""


class LaneMoved(BusError):
    """MB007: somebody else has brought the messages; go on from message_bus.link_position()."""


class LinkSourceLost(BusError):
    """MB008: the source is older than it was."""


class LinkTargetBehind(BusError):
    """MB009: the target is older than it was."""


class NoLink(BusError):
    """MB010"""


class NoBridge(BusError):
    """MB011"""


class SagaError(EcommerceError):
    """See its subclasses."""


class NoInstance(SagaError):
    """SG001"""


class SagaConflict(SagaError):
    """SG002"""


class InstanceExists(SagaError):
    """SG003"""


class UndefinedTransition(SagaError):
    """SG004"""


class InvalidTemplate(SagaError):
    """SG005"""


class NoTimer(SagaError):
    """SG006"""


class InvalidDefinition(SagaError):
    """SG010: problems has what is wrong."""


class SagaInUse(SagaError):
    """SG011"""


class TransactionAborted(EcommerceError):
    """A statement had failed and its error was caught: nothing was committed."""


class TransactionEnded(EcommerceError):
    """Something was done through a transaction that had ended."""


class RequestTimeout(EcommerceError):
    """No answer has come in time."""


class HandlerTimeout(EcommerceError):
    """A handler took longer than the timeout of its endpoint."""


class PoolTooSmall(EcommerceError):
    """Its message says how many connections are needed."""


class Rejected(EcommerceError):
    """Raised by a handler: the message is to blame, and goes to the dead letters at once."""

    def __init__(self, code: str, message: str | None = None):
        super().__init__(message or code)
        self.code = code


CLASSES: dict[str, type[EcommerceError]] = {
    "ST001": VersionConflict,
    "ST002": StreamTombstoned,
    "ST003": DuplicateEvent,
    "ST004": InvalidEvent,
    "ST005": ImmutableEvent,
    "ST006": CounterBehind,
    "ST007": EventsExist,
    "ST010": NoEventHandler,
    "ST011": NoAggregate,
    "ST012": NoProjection,
    "ST013": NoSink,
    "ST020": ProjectionMoved,
    "ST021": SourceLost,
    "SB001": NoSubscription,
    "SB002": NotFetched,
    "SB003": InvalidCheckpoint,
    "MB001": NoEndpoint,
    "MB002": EndpointFull,
    "MB003": StaleDelivery,
    "MB004": EndpointInUse,
    "MB005": InvalidMessage,
    "MB006": EndpointForwards,
    "MB007": LaneMoved,
    "MB008": LinkSourceLost,
    "MB009": LinkTargetBehind,
    "MB010": NoLink,
    "MB011": NoBridge,
    "SG001": NoInstance,
    "SG002": SagaConflict,
    "SG003": InstanceExists,
    "SG004": UndefinedTransition,
    "SG005": InvalidTemplate,
    "SG006": NoTimer,
    "SG010": InvalidDefinition,
    "SG011": SagaInUse,
}
BANDS: dict[str, type[EcommerceError]] = {
    "ST": StoreError, "SB": SubscriptionError, "MB": BusError, "SG": SagaError,
}


def translate(error: Exception) -> Exception:
    """An error of psycopg as one of ours, if it is one; what is none comes back as it is."""
    state = getattr(error, "sqlstate", None) or ""
    known = CLASSES.get(state) or BANDS.get(state[:2] if len(state) == 5 else "")
    if known is None or isinstance(error, EcommerceError):
        return error
    said = error.diag  # type: ignore[attr-defined]
    ours = known(said.message_primary, sqlstate=state, detail=said.message_detail,
                 hint=said.message_hint)
    for name, value in _attributes(said.message_detail).items():
        setattr(ours, name, value)
    return ours


def _attributes(detail: str | None) -> dict[str, Any]:
    try:
        value = json.loads(detail or "")
    except ValueError:
        return {}
    if isinstance(value, list):
        return {"problems": value}
    return value if isinstance(value, dict) else {}


def sqlstate_of(error: BaseException) -> str:
    return getattr(error, "sqlstate", None) or ""


def lost_race(error: BaseException) -> bool:
    """Another transaction was faster: the same again may succeed."""
    return sqlstate_of(error) in ("40001", "40P01", "ST001", "ST020", "MB007", "SG002")


def program_error(error: BaseException) -> bool:
    """The handler is at fault, not the message: no such function, table, name, right."""
    return (isinstance(error, (NameError, ImportError, TransactionEnded))
            or sqlstate_of(error).startswith(("42", "3F000")))


def final_error(error: BaseException) -> bool:
    """The message is at fault, and the same again will fail the same way."""
    return (isinstance(error, Rejected)
            or sqlstate_of(error).startswith(("22", "23", "ST004", "HT")))


def code_of(error: BaseException) -> str:
    """What a failed message is filed under."""
    if isinstance(error, HandlerTimeout):
        return "timeout"
    if isinstance(error, Rejected):
        return error.code
    return sqlstate_of(error) or type(error).__name__


def text_of(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:2000]
