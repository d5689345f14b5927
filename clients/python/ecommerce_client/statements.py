"""Statements as text: quoting, named arguments, the beginning of a transaction.

No prepared statement with a name, no LISTEN, no session setting: so that any statement may go to
another backend, as behind a pooler in transaction mode.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping

ISOLATION_LEVELS = ("read committed", "repeatable read", "serializable")


@dataclass(frozen=True)
class Context:
    """Who acts and why: stamped on every event and message of the transaction."""

    correlation_id: str | None = None
    causation_id: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str | None = None
    conversation_id: str | None = None


def literal(value: Any) -> str:
    """A value as a constant of SQL."""
    if value is None:
        return "NULL"
    text = str(value).replace("'", "''")
    if "\\" in text:
        return " E'" + text.replace("\\", "\\\\") + "'"
    return f"'{text}'"


def to_json(value: Any) -> str:
    return json.dumps(value, default=str)


def call(name: str, arguments: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """A call with named arguments: those that are None keep the server's default."""
    given = {key: value for key, value in arguments.items() if value is not None}
    return f"{name}({', '.join(f'{key} => %s' for key in given)})", list(given.values())


def beginning(context: Context | None = None, *, isolation: str | None = None,
              source: str | None = None, timeout: float | None = None) -> list[str]:
    """BEGIN, the settings of this transaction, who acts and why."""
    if isolation is not None and isolation.lower() not in ISOLATION_LEVELS:
        raise ValueError(f"no such isolation level: {isolation}")
    statements = [f"BEGIN ISOLATION LEVEL {isolation}" if isolation else "BEGIN"]
    settings = []
    if source:
        settings.append(f"set_config('ecommerce.source', {literal(source)}, true)")
    if timeout:
        limit = max(1, int(timeout * 1000))
        settings.append(f"set_config('statement_timeout', '{limit}', true)")
        settings.append(
            f"set_config('idle_in_transaction_session_timeout', '{limit + 5000}', true)")
    if settings:
        statements.append(f"SELECT {', '.join(settings)}")
    if context is not None and context != Context():
        statements.append(
            f"SELECT ecommerce.set_context({literal(context.correlation_id)}::uuid, "
            f"{literal(context.causation_id)}::uuid, {literal(context.user_id)}, "
            f"{literal(context.tenant_id)}, {literal(to_json(dict(context.headers)))}::jsonb, "
            f"{literal(context.traceparent)}" +
            # the parameter has not been there from the first version on
            (f", {literal(context.conversation_id)}::uuid" if context.conversation_id else "") +
            ")")
    return statements


def acks(delivery_ids: list[int]) -> str:
    return f"SELECT message_bus.ack(VARIADIC '{{{','.join(map(str, delivery_ids))}}}'::bigint[])"
