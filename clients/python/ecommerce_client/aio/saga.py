"""Sagas: definitions, instances, what an operator does. Each method is one statement."""
from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Mapping

from ..shapes import Instance
from ..statements import to_json

INSTANCE = ("saga, correlation_id, definition_version, current_state, data, version, "
            "created_at, updated_at")


class Sagas:
    """run: the client (autocommit), or a transaction."""

    def __init__(self, run: Any):
        self._run = run

    async def _value(self, sql: str, *values: Any) -> Any:
        [row] = await self._run.query(f"SELECT {sql} AS value", values)
        return row["value"]

    async def define(self, name: str, definition: Mapping[str, Any]) -> int:
        """SELECT saga.define(name, definition): the new version; the same again is no new one"""
        document = to_json(definition)
        same = await self._run.query(
            "SELECT version FROM saga.definitions WHERE name = %s AND is_current "
            "AND definition = %s::jsonb", [name, document])
        if same:
            return same[0]["version"]
        return await self._value("saga.define(%s, %s::jsonb)", name, document)

    async def verify(self, name: str) -> list[dict[str, Any]]:
        """SELECT * FROM saga.verify(name)"""
        return await self._run.query("SELECT * FROM saga.verify(%s)", [name])

    async def diagram(self, name: str, format: str = "mermaid") -> str:
        """SELECT saga.diagram(name, format): mermaid or dot"""
        return await self._value("saga.diagram(%s, %s)", name, format)

    async def get(self, saga: str, correlation_id: str) -> Instance | None:
        """SELECT * FROM saga.get(saga, correlation_id); None if there is none"""
        rows = await self._run.query(f"SELECT {INSTANCE} FROM saga.get(%s, %s)",
                                     [saga, correlation_id])
        return Instance.of(rows[0]) if rows and rows[0]["correlation_id"] else None

    async def create(self, saga: str, correlation_id: str, data: Mapping[str, Any] | None = None,
                     state: str | None = None) -> Instance:
        """SELECT * FROM saga.create(saga, correlation_id, data, state)"""
        [row] = await self._run.query(
            f"SELECT {INSTANCE} FROM saga.create(%s, %s, %s::jsonb, %s)",
            [saga, correlation_id, to_json(data or {}), state])
        return Instance.of(row)

    async def update(self, saga: str, correlation_id: str, expected_version: int, new_state: str,
                     data: Mapping[str, Any]) -> int:
        """SELECT saga.update(..): the new version"""
        return await self._value("saga.update(%s, %s, %s::int, %s, %s::jsonb)", saga,
                                 correlation_id, expected_version, new_state, to_json(data))

    async def delete(self, saga: str, correlation_id: str) -> bool:
        """SELECT saga.delete(saga, correlation_id)"""
        return await self._value("saga.delete(%s, %s)", saga, correlation_id)

    async def history(self, saga: str, correlation_id: str) -> list[dict[str, Any]]:
        """SELECT * FROM saga.history(saga, correlation_id)"""
        return await self._run.query("SELECT * FROM saga.history(%s, %s)",
                                     [saga, correlation_id])

    async def simulate(self, saga: str, scenario: Mapping[str, Any], schedules: int = 1000) -> Any:
        """SELECT saga.simulate(saga, scenario, schedules)"""
        return await self._value("saga.simulate(%s, %s::jsonb, %s::int)", saga, to_json(scenario),
                                 schedules)

    async def migrate(self, name: str, correlation_id: str | None, to_version: int,
                      state_map: Mapping[str, str] | None = None) -> int:
        """SELECT saga.migrate(name, correlation_id, to_version, state_map): how many"""
        return await self._value("saga.migrate(%s, %s, %s::int, %s::jsonb)", name, correlation_id,
                                 to_version, to_json(state_map or {}))

    async def retry(self, saga: str, correlation_id: str) -> int:
        """SELECT saga.retry(saga, correlation_id)"""
        return await self._value("saga.retry(%s, %s)", saga, correlation_id)

    async def goto(self, saga: str, correlation_id: str, state: str, reason: str) -> int:
        """SELECT saga.goto(saga, correlation_id, state, reason)"""
        return await self._value("saga.goto(%s, %s, %s, %s)", saga, correlation_id, state, reason)

    async def cancel(self, saga: str, correlation_id: str, reason: str) -> int:
        """SELECT saga.cancel(saga, correlation_id, reason)"""
        return await self._value("saga.cancel(%s, %s, %s)", saga, correlation_id, reason)

    async def run(self, max_messages: int = 1000) -> int:
        """SELECT saga.run(max_messages): by hand, where the library is not preloaded"""
        return await self._value("saga.run(%s::int)", max_messages)

    async def fire_due(self, as_of: datetime | None = None) -> int:
        """SELECT saga.fire_due(as_of): timers up to a time, for tests"""
        return await self._value("saga.fire_due(%s)", as_of or datetime.now(timezone.utc))
