"""Consumes one endpoint of the message bus with a table of handlers.

A batch is a transaction: BEGIN and receive in one round trip; the handlers, each behind a savepoint
that is set when it says its first statement; then ack and COMMIT in one. What a handler writes and
sends commits with the ack, or is rolled back to its savepoint and its message failed. A consumer
that dies leaves nothing: its messages are handed out again.
"""
from __future__ import annotations

from typing import Any, Callable, Mapping

from ..errors import code_of, final_error, lost_race, program_error, sqlstate_of, text_of
from ..shapes import Message
from ..statements import acks, beginning, literal
from . import runner
from .runner import Runner, Stop, limited, log
from .wire import query, rollback, script

RACES_MAX = 3
# After a start the first messages come one by one: one that ends the process must be known to the
# bus as the one that was being handled (receive of one message says so), also when its handler
# says no statement.
SINGLES = 16
SNOOZE_MAX = 60


class Consumer:
    """handlers: {message type: handler(message, tx)}, "*" for all others. batch: messages per
    transaction. concurrency: loops of this process. timeout: seconds for a handler, by default the
    endpoint's. wait: seconds after which an idle wait begins anew. on_error(error, message): hears
    of every failure.
    """

    def __init__(self, client: Any, endpoint: str,
                 handlers: Mapping[str, Callable[[Message, Any], Any]], *, batch: int = 50,
                 concurrency: int = 1, timeout: float | None = None, wait: float = 30,
                 on_error: Callable[[Exception, Message], None] | None = None):
        self._client, self._endpoint, self._handlers = client, endpoint, dict(handlers)
        self._size, self._timeout, self._wait_seconds = batch, timeout, wait
        self._on_error = on_error
        # message ids that failed when they were to be committed, with the error
        self._guilty: dict[str, Exception] = {}
        self._broken: dict[str, int] = {}
        self._singles = SINGLES
        self.runner = Runner(f"endpoint {endpoint}", concurrency, self._turn, self._wait)

    async def join(self) -> None:
        """Returns when it has been stopped."""
        await self.runner.join()

    async def stop(self) -> None:
        """Takes nothing more; returns when what is in hand has been committed."""
        await self.runner.stop()

    async def _wait(self, _: dict[str, Any], stop: Stop) -> None:
        async with self._client.connection() as connection:
            await runner.wait_cancellable(
                connection, "CALL message_bus.wait(%s, %s * interval '1 second')",
                [self._endpoint, self._wait_seconds], stop)

    async def _limit(self, connection: Any) -> float:
        """The endpoint's timeout, or what the options say, in seconds."""
        if self._timeout is None:
            rows = await query(connection, "SELECT extract(epoch FROM timeout)::float8 AS seconds "
                               "FROM message_bus.endpoint WHERE name = %s", [self._endpoint])
            self._timeout = rows[0]["seconds"] if rows else 30.0
        return self._timeout

    async def _turn(self, _: dict[str, Any], stop: Stop) -> int:
        async with self._client.connection() as connection:
            try:
                timeout = await self._limit(connection)
                size = 1 if self._singles > 0 else self._size
                results = await script(
                    connection, *beginning(source=self._client.source, timeout=timeout),
                    f"SELECT * FROM message_bus.receive({literal(self._endpoint)}, {size})")
                messages = [Message.of(row) for row in results[-1]]
                if messages:
                    self._singles = max(self._singles - 1, 0)
                    await self._handle(connection, messages, stop)
                else:
                    # receive() may have written something down: who has died of a message.
                    await query(connection, "COMMIT")
                return len(messages)
            except BaseException:
                await rollback(connection)
                raise

    async def _handle(self, connection: Any, messages: list[Message], stop: Stop) -> None:
        batch = Batch(connection)
        for message in messages:
            if stop.is_set():
                break
            await self._message(batch, message)
        try:
            await script(connection, *([acks(batch.done)] if batch.done else []), "COMMIT")
        except Exception as error:
            # By whom is known when each comes alone.
            if len(messages) == 1 and sqlstate_of(error):
                self._guilty[messages[0].id] = error
            else:
                self._singles = max(self._singles, len(messages))
            raise

    async def _message(self, batch: "Batch", message: Message) -> None:
        handler = self._handlers.get(message.type) or self._handlers.get("*")
        guilty = self._guilty.pop(message.id, None)
        if guilty is not None:
            await self._fail(batch, message, guilty)
            return
        if handler is None:
            await query(batch.connection, "SELECT message_bus.skip(%s, %s)",
                        [message.delivery_id, "no handler for this message type"])
            return
        for races in range(1, RACES_MAX + 1):
            error = await self._attempt(batch, message, handler)
            if error is None:
                batch.done.append(message.delivery_id)
                self._broken.pop(message.type, None)
                return
            if not lost_race(error) or races == RACES_MAX:
                await self._fail(batch, message, error)
                return

    async def _attempt(self, batch: "Batch", message: Message,
                       handler: Callable[[Message, Any], Any]) -> Exception | None:
        """Calls the handler; None when all is well, else the error, and nothing is left of it."""
        assert self._timeout is not None
        batch.entered = False
        tx = self._client.transaction(batch.connection, lambda: batch.enter(message.delivery_id))
        try:
            await limited(self._timeout, tx, handler, message, tx)
            return None
        except Exception as error:
            await tx.end()
            if batch.connection.broken or batch.connection.closed:
                raise
            if batch.entered:
                await query(batch.connection, "ROLLBACK TO SAVEPOINT message")
            return error
        finally:
            await tx.end()

    async def _fail(self, batch: "Batch", message: Message, error: Exception) -> None:
        log.warning("%s %s at %s failed: %s", message.type, message.id, self._endpoint, error)
        if self._on_error is not None:
            self._on_error(error, message)
        if program_error(error):
            failures = self._broken[message.type] = self._broken.get(message.type, 0) + 1
            await query(batch.connection,
                        "SELECT message_bus.snooze(%s, %s * interval '1 second', %s)",
                        [message.delivery_id, min(SNOOZE_MAX, 2 ** min(failures - 1, 10)),
                         text_of(error)])
            return
        await query(batch.connection, "SELECT message_bus.fail(%s, %s, %s, %s)",
                    [message.delivery_id, code_of(error), text_of(error),
                     not final_error(error)])


class Batch:
    """What is in hand: the connection, what is done, and whether a savepoint is set."""

    def __init__(self, connection: Any):
        self.connection = connection
        self.done: list[int] = []
        self.entered = False
        self._saved = False

    def enter(self, delivery_id: int) -> list[str]:
        statements = ["RELEASE SAVEPOINT message"] if self._saved else []
        self._saved = self.entered = True
        return [*statements, "SAVEPOINT message", f"SELECT message_bus.handle({delivery_id})"]


