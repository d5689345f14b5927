"""Tests of deciders without a database: given what happened, when something is decided, then these
events, or this error.

    given(room, NewEvent("RoomOpened", {"beds": 1})).when(book("ann")) \\
        .then(NewEvent("RoomBooked", {"guest": "ann"}))
"""
from __future__ import annotations

import json
from typing import Any, Callable

from .shapes import At, Decider, Events, NewEvent, as_list


def essence(events: Events) -> list[tuple[str, Any]]:
    return [(event.type, json.loads(json.dumps(event.data, default=str)))
            for event in as_list(events)]


class Outcome:
    """What was decided, or the error that was raised."""

    def __init__(self, decide: Callable[[], Events]):
        self.events: list[NewEvent] = []
        self.error: Exception | None = None
        try:
            self.events = as_list(decide())
        except Exception as error:
            self.error = error

    def then(self, *expected: NewEvent) -> None:
        """Exactly these events, by type and data."""
        if self.error is not None:
            raise self.error
        assert essence(self.events) == essence(expected), \
            f"decided {essence(self.events)}, not {essence(expected)}"

    def then_nothing(self) -> None:
        self.then()

    def then_fails(self, expected: type[Exception], text: str = "") -> Exception:
        """It raised an error of that class, whose message has the text."""
        assert self.error is not None, f"decided {essence(self.events)}"
        assert isinstance(self.error, expected) and text in str(self.error), \
            f"another error: {self.error!r}"
        return self.error


class Given:
    """A decider and the state that some events have led to."""

    def __init__(self, decider: Decider[Any], events: tuple[NewEvent, ...]):
        self._decider, self._version = decider, len(events)
        self.state = decider.fold(events)

    def when(self, decide: Callable[[Any, At], Events] | None = None) -> Outcome:
        """Without a decision: the decider's own."""
        chosen = decide or self._decider.decide
        return Outcome(lambda: chosen(self.state, At(self._version)))


def given(decider: Decider[Any], *events: NewEvent) -> Given:
    return Given(decider, events)
