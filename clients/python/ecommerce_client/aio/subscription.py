"""Follows the store: batches of events, each in a transaction with its checkpoint.

A batch runs without savepoints. When a handler fails the transaction is rolled back; the events
before the one that failed come again and are committed, then it comes alone, up to `retries` times
more; then it is parked, and the subscription goes on, or it stops.
"""
from __future__ import annotations

from typing import Any, Callable, Mapping

from ..errors import text_of
from ..shapes import Event
from ..statements import beginning, literal
from . import runner
from .runner import Runner, Stop, backoff, log, resolve
from .wire import query, rollback, script

RETRY = (0.1, 5.0)


class EventFailure(Exception):
    """The handler failed on an event, after so many others of its batch."""

    def __init__(self, error: Exception, event: Event, before: int):
        super().__init__(str(error))
        self.error, self.event, self.before = error, event, before


class Subscription:
    """category, stream: may be left out, the database knows what create_subscription() said.
    concurrency: loops of this process. batch: events per transaction. retries, on_error: "stop"
    (join() raises the error) or "park". wait: seconds after which an idle wait begins anew.
    """

    def __init__(self, client: Any, name: str, handler: Callable[[Event, Any], Any], *,
                 category: str | None = None, stream: str | None = None, concurrency: int = 1,
                 batch: int = 100, retries: int = 3, on_error: str = "stop", wait: float = 30):
        if on_error not in ("stop", "park"):
            raise ValueError(f"on_error must be stop or park, not {on_error}")
        self._client, self._name, self._handler = client, name, handler
        self._batch, self._retries = batch, retries
        self._on_error, self._wait_seconds = on_error, wait
        # position of an event whose handler failed: how often, and the error once that is enough
        self._failures: dict[int, int] = {}
        self._condemned: dict[int, Exception] = {}
        self.runner = Runner(f"subscription {name}", concurrency, self._turn, self._wait)

    async def join(self) -> None:
        """Returns when it has been stopped; raises the error of an event with on_error stop."""
        await self.runner.join()

    async def stop(self) -> None:
        """Takes nothing more; returns when what is in hand has been committed."""
        await self.runner.stop()

    async def _wait(self, _state: dict[str, Any], stop: Stop) -> None:
        # Woken by appends, by replay_parked(), and by a consumer that let go of a partition.
        async with self._client.connection() as connection:
            await runner.wait_cancellable(
                connection, "CALL event_store.wait_subscription(%s, %s * interval '1 second')",
                [self._name, self._wait_seconds], stop)

    async def _turn(self, state: dict[str, Any], stop: Stop) -> int:
        size = state.pop("size", self._batch)
        failure = None
        async with self._client.connection() as connection:
            try:
                results = await script(
                    connection, *beginning(source=self._client.source),
                    f"SELECT *, event_store.attempt({literal(self._name)}, position) AS attempt "
                    f"FROM event_store.fetch({literal(self._name)}, {size})")
                events = [self._event(row) for row in results[-1]]
                if events:
                    await self._handle(connection, events)
                else:
                    # fetch() may have moved a checkpoint over events of others.
                    await query(connection, "COMMIT")
            except EventFailure as error:
                await rollback(connection)
                failure = error
            except BaseException:
                await rollback(connection)
                raise
        if failure is not None:
            await self._on_failure(state, failure, stop)
            return 1
        return len(events)

    def _event(self, row: Mapping[str, Any]) -> Event:
        # The server knows of other processes, also of killed ones; not of failures in a batch.
        known = self._failures.get(row["position"], 0) + 1
        return Event.of({**row, "attempt": max(known, row["attempt"])})

    async def _handle(self, connection: Any, events: list[Event]) -> None:
        tx = self._client.transaction(connection)
        handled = 0
        try:
            for event in events:
                if event.position in self._condemned:
                    await self._park(tx, event)
                else:
                    await resolve(self._handler(event, tx))
                handled += 1
        except Exception as error:
            raise EventFailure(error, events[handled], handled)
        finally:
            await tx.end()
        await script(
            connection,
            f"SELECT event_store.advance({literal(self._name)}, {events[-1].position})", "COMMIT")
        for event in events:
            self._failures.pop(event.position, None)
            self._condemned.pop(event.position, None)

    async def _on_failure(self, state: dict[str, Any], failure: EventFailure,
                          stop: Stop) -> None:
        """The events before it first, then it alone, then what on_error says."""
        if failure.before > 0:
            state["size"] = failure.before
            return
        event, error = failure.event, failure.error
        failures = self._failures[event.position] = event.attempt
        log.warning("subscription %s, event %s (%s, %s): %s", self._name, event.position,
                    event.type, event.stream, error)
        state["size"] = 1
        if failures <= self._retries:
            await backoff(failures - 1, *RETRY, stop)
        elif self._on_error == "stop":
            error.fatal = True  # type: ignore[attr-defined]
            error.event = event  # type: ignore[attr-defined]
            raise error
        else:
            self._condemned[event.position] = error

    async def _park(self, tx: Any, event: Event) -> None:
        """SELECT event_store.park(subscription, position, error, attempts): for replay_parked()"""
        await tx.query("SELECT event_store.park(%s, %s, %s, %s)",
                       [self._name, event.position, text_of(self._condemned[event.position]),
                        self._failures[event.position]])
