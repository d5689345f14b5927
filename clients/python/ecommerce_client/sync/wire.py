# Made by unasync of aio/wire.py: do not edit.
"""Statements on their way to the server."""
from __future__ import annotations

from typing import Any, Sequence

import psycopg
from psycopg import pq

from ..errors import translate

Rows = list[dict[str, Any]]


def query(connection: Any, text: str, values: Sequence[Any] | None = None) -> Rows:
    """One statement; values travel beside it."""
    try:
        cursor = connection.execute(text, values or None)
        return cursor.fetchall() if cursor.description else []
    except psycopg.Error as error:
        raise translate(error)


def script(connection: Any, *statements: str) -> list[Rows]:
    """Several statements in one round trip; their rows in order."""
    results = []
    try:
        cursor = connection.execute("; ".join(statements))
        more: bool | None = True
        while more:
            results.append(cursor.fetchall() if cursor.description else [])
            more = cursor.nextset()
    except psycopg.Error as error:
        raise translate(error)
    return results


def rollback(connection: Any) -> None:
    """Ends what is open; a connection that cannot do that any more is closed."""
    try:
        if connection.info.transaction_status != pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()
