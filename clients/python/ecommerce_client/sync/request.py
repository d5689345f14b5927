# Made by unasync of aio/request.py: do not edit.
"""Requests: a command whose answer comes back to the process that asked.

A process that asks has an endpoint of its own, reply-<day>-<uuid>, which goes when the client is
closed. What processes that died have left is dropped, a day later, by the next one that makes one;
a process makes a new one after half a day.
"""
from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from ..errors import EcommerceError, RequestTimeout
from ..shapes import Message
from .runner import Answers, Lock

HALF_DAY = 12 * 3600
LEFT_BEHIND = """SELECT name FROM message_bus.endpoint WHERE name ~ '^reply-[0-9]{8}-'
    AND substr(name, 7, 8) < to_char(now() - interval '1 day', 'YYYYMMDD')"""


class Replies:
    """Answers of one client, and the endpoint to which they go."""

    def __init__(self, client: Any):
        self._client = client
        self._lock = Lock()
        self._name = ""
        self._since = 0.0
        self._made: list[str] = []
        self.answers = Answers()

    def endpoint(self) -> str:
        with self._lock:
            if not self._name or time.monotonic() - self._since > HALF_DAY:
                self._name = self._make()
                self._since = time.monotonic()
            return self._name

    def _make(self) -> str:
        day = datetime.now(timezone.utc).strftime("%Y%m%d")
        name = f"reply-{day}-{uuid4()}"
        for row in self._client.query(LEFT_BEHIND):
            self._drop(row["name"])
        self._client.bus.create_endpoint(name, lanes=1, retry={"kind": "none"})
        self._made.append(name)
        self._client.bus.consume(name, {"*": self._arrived})
        return name

    def _arrived(self, message: Message, _: Any) -> None:
        self.answers.arrived((message.headers or {}).get("in_reply_to"), message)

    def _drop(self, name: str) -> None:
        try:
            self._client.query("SELECT message_bus.drop_endpoint(%s, true)", [name])
        except Exception:  # somebody else has dropped it, or the server is gone
            pass

    def close(self) -> None:
        for name in self._made:
            self._drop(name)


def ask(client: Any, endpoint: str, type: str, body: Any, timeout: float,
              options: dict[str, Any]) -> Message:
    """bus.request()"""
    if client.in_transaction:
        raise EcommerceError("an answer cannot come before the question is committed",
                             hint="Call request() on the client, outside of the transaction.")
    replies: Replies = client.replies
    headers = {**(options.pop("headers", None) or {}), "reply_to": replies.endpoint()}
    options.setdefault("id", str(uuid4()))
    options.setdefault("expires_at", datetime.now(timezone.utc) + timedelta(seconds=timeout))
    question = options["id"]
    replies.answers.expect(question)
    try:
        client.bus.send(endpoint, type, body, headers=headers, **options)
        answer = replies.answers.get(question, timeout)
    finally:
        replies.answers.forget(question)
    if answer is None:
        raise RequestTimeout(f"no answer within {timeout} s",
                             hint="Look at the endpoint in message_bus.endpoints, and at "
                             "message_bus.dead_letters.")
    return answer
