"""The client: a pool, and the three APIs on it."""
from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Sequence, TypeVar

from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from ..errors import PoolTooSmall
from ..statements import Context
from .bus import Bus
from .request import Replies
from .runner import until_signal
from .saga import Sagas
from .store import Store
from .transaction import Transaction, transact
from .wire import Rows, query

Result = TypeVar("Result")


class Client:
    """conninfo: as in psycopg; without one the PG* variables say where. max_size: of the pool.
    source: stamped on what transactions and handlers write.
    """

    in_transaction = False

    def __init__(self, conninfo: str = "", *, max_size: int = 10, source: str | None = None,
                 **options: Any):
        # Statements are not prepared: behind a pooler the next one may go to another backend.
        self.pool = AsyncConnectionPool(
            conninfo, min_size=1, max_size=max_size, open=False, kwargs={
                "autocommit": True, "prepare_threshold": None, "row_factory": dict_row,
                **options})
        self.max_size = max_size
        self.source = source
        self.store = Store(self)
        self.bus = Bus(self)
        self.saga = Sagas(self)
        self.replies = Replies(self)
        self._running: list[Any] = []

    async def __aenter__(self) -> "Client":
        await self.pool.open()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the pool, for a with block."""
        await self.pool.open()
        async with self.pool.connection() as connection:
            yield connection

    def transaction(self, connection: Any,
                    enter: Callable[[], list[str]] | None = None) -> Transaction:
        """A transaction that somebody has begun."""
        return Transaction(connection, enter)

    async def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """One statement, in autocommit; rows as dictionaries."""
        async with self.connection() as connection:
            return await query(connection, text, values)

    async def tx(self, context: Context | None,
                 function: Callable[[Transaction], Awaitable[Result] | Result], *,
                 isolation: str | None = None) -> Result:
        """BEGIN; SELECT ecommerce.set_context(..); function(tx); COMMIT; an error rolls back"""
        return await transact(self, context, function, isolation)

    def start(self, running: Any) -> Any:
        """Starts what consumes, if the pool has room for it and for others."""
        self._running = [r for r in self._running if not r.runner.ended]
        needed = 1 + sum(r.runner.concurrency for r in [*self._running, running])
        if needed > self.max_size:
            raise PoolTooSmall(
                f"a pool of {self.max_size} connections is too small: consumers and "
                f"subscriptions need {needed - 1}, everything else at least one",
                hint=f"Say max_size={needed}, or more if there are other calls in parallel.")
        self._running.append(running)
        running.runner.start()
        return running

    async def close(self) -> None:
        """Lets consumers and subscriptions finish what they have in hand, then ends the pool."""
        for running in self._running:
            running.runner.end()
        for running in self._running:
            await running.stop()
        await self.replies.close()
        await self.pool.close()

    async def until_signal(self) -> None:
        """Returns on SIGTERM or SIGINT, when all has been closed. Raises what one of them cannot
        go on after.
        """
        await until_signal(lambda: any(r.runner.failed for r in self._running))
        failed = [r.runner.failed for r in self._running if r.runner.failed]
        await self.close()
        if failed:
            raise failed[0]
