# Made by unasync of aio/bus.py: do not edit.
"""Sending and consuming. Every method says which statement it is."""
from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Mapping, Sequence

from ..shapes import Message
from ..statements import call, to_json
from .consumer import Consumer
from .request import ask


class Bus:
    """run: the client (autocommit), or a transaction."""

    def __init__(self, run: Any):
        self._run = run

    def send(self, endpoint: str, type: str, body: Any, **options: Any) -> str:
        """SELECT message_bus.send(endpoint, message_type, body, ..); options as in publish()"""
        return self._give("message_bus.send", {"endpoint": endpoint}, type, body, **options)

    def publish(self, type: str, body: Any, **options: Any) -> str:
        """SELECT message_bus.publish(message_type, body, ..): the message's id

        id: your own; key: messages with one key are delivered in order; deliver_at, expires_at;
        headers; schema_version.
        """
        return self._give("message_bus.publish", {}, type, body, **options)

    def _give(self, name: str, target: dict[str, Any], type: str, body: Any, *,
                    id: str | None = None, key: str | None = None,
                    deliver_at: datetime | None = None, expires_at: datetime | None = None,
                    headers: Mapping[str, Any] | None = None,
                    schema_version: int | None = None) -> str:
        sql, values = call(name, {
            **target, "message_type": type, "body": to_json(body), "message_id": id,
            "partition_key": key, "deliver_at": deliver_at, "expires_at": expires_at,
            "headers": None if headers is None else to_json(dict(headers)),
            "schema_version": schema_version})
        [row] = self._run.query(f"SELECT {sql} AS id", values)
        return str(row["id"])

    def request(self, endpoint: str, type: str, body: Any, *, timeout: float = 30,
                      **options: Any) -> Message:
        """send() with the header reply_to; what the handler says with reply()"""
        return ask(self._run, endpoint, type, body, timeout, options)

    def reply(self, message: Message, type: str, body: Any, **options: Any) -> str | None:
        """send() to the endpoint that waits for the answer; None if nobody waits"""
        reply_to = (message.headers or {}).get("reply_to")
        if reply_to is None:
            return None
        headers = {**(options.pop("headers", None) or {}), "in_reply_to": message.id}
        return self.send(reply_to, type, body, headers=headers, **options)

    def cancel(self, id: str) -> bool:
        """SELECT message_bus.cancel_scheduled(message_id)"""
        [row] = self._run.query("SELECT message_bus.cancel_scheduled(%s) AS done", [id])
        return row["done"]

    def create_endpoint(self, name: str, *, lanes: int | None = None,
                              retry: Mapping[str, Any] | None = None,
                              breaker: str | Mapping[str, Any] | None = None,
                              timeout: str | None = None, order: str | None = None,
                              subscribe: Sequence[str] = ()) -> None:
        """SELECT message_bus.create_endpoint(..) unless it is there, message_bus.subscribe(..)"""
        sql, values = call("message_bus.create_endpoint", {
            "name": name, "lanes": lanes, "retry": retry and to_json(dict(retry)),
            "breaker": breaker and to_json(breaker), "timeout": timeout, '"order"': order})
        sql = sql.replace("breaker => %s", "breaker => %s::jsonb")
        self._run.query(f"SELECT {sql} WHERE NOT EXISTS (SELECT FROM message_bus.endpoint e "
                              "WHERE e.name = %s)", [*values, name])
        if subscribe:
            self._run.query("SELECT message_bus.subscribe(%s, type) "
                                  "FROM unnest(%s::text[]) type", [name, list(subscribe)])

    def redrive(self, id: str, body: Any = None) -> int:
        """SELECT message_bus.redrive(message_id, body): a dead letter comes again"""
        [row] = self._run.query(
            "SELECT message_bus.redrive(%s, %s::jsonb) AS count",
            [id, None if body is None else to_json(body)])
        return row["count"]

    def consume(self, endpoint: str, handlers: Mapping[str, Callable[[Message, Any], Any]],
                **options: Any) -> Consumer:
        """Per batch: BEGIN; receive(); handlers, a savepoint each; ack(); COMMIT. Options: see
        Consumer.
        """
        return self._run.start(Consumer(self._run, endpoint, handlers, **options))
