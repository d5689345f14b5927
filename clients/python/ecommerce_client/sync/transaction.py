# Made by unasync of aio/transaction.py: do not edit.
"""A transaction with the store, the bus and the sagas in it."""
from __future__ import annotations

from typing import Any, Callable, Sequence

from psycopg import pq

from ..errors import TransactionAborted, TransactionEnded
from ..statements import Context, beginning
from .bus import Bus
from .runner import Lock, resolve
from .saga import Sagas
from .store import Store
from .wire import Rows, query, rollback, script


class Transaction:
    """What a handler is given: query() and the three APIs, until it has returned.

    enter() runs before the first statement; a consumer sets its savepoint there.
    """

    in_transaction = True

    def __init__(self, connection: Any, enter: Callable[[], list[str]] | None = None):
        self._connection = connection
        self._enter = enter
        self._ended = False
        self._busy = Lock()
        self.store = Store(self)
        self.bus = Bus(self)
        self.saga = Sagas(self)

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """A statement of your own; parameters as in psycopg, rows as dictionaries."""
        with self._busy:
            if self._ended:
                raise TransactionEnded(
                    "this transaction has ended",
                    hint="Do everything that a handler begins before it returns.")
            if self._enter is not None:
                enter, self._enter = self._enter, None
                script(self._connection, *enter())
            return query(self._connection, text, values)

    def end(self) -> None:
        """Refuses what comes from now on; returns when nothing is under way."""
        self._ended = True
        with self._busy:
            pass


def transact(client: Any, context: Context | None,
                   function: Callable[[Transaction], Any],
                   isolation: str | None) -> Any:
    """Runs function in a transaction: its outcome is committed, an error rolls back."""
    with client.connection() as connection:
        try:
            script(connection, *beginning(context, isolation=isolation,
                                                source=client.source))
            tx = Transaction(connection)
            try:
                value = resolve(function(tx))
            finally:
                tx.end()
            if connection.info.transaction_status != pq.TransactionStatus.INTRANS:
                raise TransactionAborted(
                    "the transaction was rolled back: a statement failed",
                    hint="Do not catch errors of statements inside a transaction.")
            query(connection, "COMMIT")
            return value
        except BaseException:
            rollback(connection)
            raise
