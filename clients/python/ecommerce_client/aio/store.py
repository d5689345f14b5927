"""Streams, decisions and subscriptions. Every method says which statement it is."""
from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Sequence

from ..errors import lost_race
from ..shapes import (Appended, At, Decider, Event, Events, Handled, Loaded, as_list)
from ..statements import Context, call, to_json
from .runner import backoff, resolve
from .subscription import Subscription

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('event_store:' || %s, 0))"


class Store:
    """run: the client (autocommit), or a transaction."""

    def __init__(self, run: Any):
        self._run = run

    async def append(self, stream: str, expected_version: int, events: Events) -> Appended:
        """SELECT version, "position" FROM event_store.append_json(stream, expected, events)"""
        rows = [{key: value for key, value in event.row().items() if value is not None}
                for event in as_list(events)]
        [row] = await self._run.query(
            'SELECT version, "position" FROM event_store.append_json(%s, %s, %s::jsonb)',
            [stream, expected_version, to_json(rows)])
        return Appended(row["version"], row["position"])

    async def read(self, stream: str, *, from_version: int | None = None,
                   max_count: int | None = None, backward: bool | None = None) -> list[Event]:
        """SELECT * FROM event_store.read_stream(stream, from_version, max_count, backward)"""
        sql, values = call("event_store.read_stream", {
            "stream": stream, "from_version": from_version, "max_count": max_count,
            "backward": backward})
        return [Event.of(row) for row in await self._run.query(f"SELECT * FROM {sql}", values)]

    async def read_all(self, *, after: int | None = None, max_count: int | None = None,
                       category: str | None = None,
                       types: Sequence[str] | None = None) -> list[Event]:
        """SELECT * FROM event_store.read_all(after_position, max_count, category, event_types)"""
        sql, values = call("event_store.read_all", {
            "after_position": after, "max_count": max_count, "category": category,
            "event_types": None if types is None else list(types)})
        return [Event.of(row) for row in await self._run.query(f"SELECT * FROM {sql}", values)]

    async def load(self, stream: str, *, at_version: int | None = None,
                   at_time: datetime | None = None, for_update: bool | None = None,
                   at_recorded: datetime | None = None) -> Loaded:
        """SELECT * FROM event_store.load(..): an aggregate that the database folds"""
        sql, values = call("event_store.load", {
            "stream": stream, "at_version": at_version, "at_time": at_time,
            "for_update": for_update, "at_recorded": at_recorded})
        [row] = await self._run.query(f"SELECT * FROM {sql}", values)
        return Loaded(row["state"], row["version"], row["created_at"], row["updated_at"])

    async def version(self, stream: str) -> int:
        """SELECT event_store.stream_version(stream)"""
        [row] = await self._run.query(
            "SELECT event_store.stream_version(%s) AS version", [stream])
        return row["version"]

    async def check(self, stream: str, expected_version: int) -> None:
        """SELECT event_store.check_version(stream, expected_version)"""
        await self._run.query("SELECT event_store.check_version(%s, %s)",
                              [stream, expected_version])

    async def handle(self, stream: str, decider: Decider[Any], *, retries: int = 10,
                     context: Context | None = None) -> Handled:
        """read, decide, append; again when another writer was faster.

        With a context, or within a transaction, decide() finds it in at.tx, and what it does there
        commits with the events. Deciders in transactions wait for each other.
        """
        if self._run.in_transaction:
            return await self._decide(stream, decider, self._run)
        attempt = 0
        while True:
            try:
                if context is None:
                    return await self._decide(stream, decider, None)
                return await self._run.tx(
                    context, lambda tx: tx.store._decide(stream, decider, tx))
            except Exception as error:
                if not lost_race(error) or attempt >= retries:
                    raise
            await backoff(attempt, 0.005, 0.2)
            attempt += 1

    async def _decide(self, stream: str, decider: Decider[Any], tx: Any) -> Handled:
        if tx is not None:
            await tx.query(LOCK, [stream])
        events, version = await self._current(stream)
        state = decider.fold(events)
        decided = as_list(await resolve(decider.decide(state, At(version, tx))))
        if not decided:
            return Handled(state, version, None, [])
        appended = await self.append(stream, version, decided)
        return Handled(decider.fold(decided, state), appended.version, appended.position, decided)

    async def _current(self, stream: str) -> tuple[list[Event], int]:
        """The events and a version that is not newer than they are: if it moves on, the append
        fails. An empty stream is asked for its version: its events may have been deleted.
        """
        events = await self.read(stream)
        version = 0
        if not events:
            version = await self.version(stream)
            if version > 0:
                events = await self.read(stream)
        return events, events[-1].version if events else version

    async def create_subscription(self, name: str, *, category: str | None = None,
                                  stream: str | None = None,
                                  types: Sequence[str] | None = None,
                                  start_after: int | None = None,
                                  partitions: int | None = None,
                                  partition_by: str | None = None,
                                  park_after: int | None = None) -> None:
        """SELECT event_store.create_subscription(..); the same call again does nothing"""
        sql, values = call("event_store.create_subscription", {
            "name": name, "category": category, "stream": stream,
            "event_types": None if types is None else list(types), "start_after": start_after,
            "partitions": partitions, "partition_by": partition_by, "park_after": park_after})
        await self._run.query(f"SELECT {sql}", values)

    def subscribe(self, name: str, handler: Callable[[Event, Any], Any],
                  **options: Any) -> Subscription:
        """Per batch: BEGIN; fetch(); handlers; advance(); COMMIT. Options: see Subscription."""
        return self._run.start(Subscription(self._run, name, handler, **options))
