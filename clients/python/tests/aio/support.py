"""What the tests need of asyncio; sync/support.py is the same for threads."""
from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Callable
from unittest import IsolatedAsyncioTestCase as TestCase

from ecommerce_client.aio import connect
from ecommerce_client.aio.runner import resolve

PATIENCE = float(os.environ.get("PG_TEST_TIMEOUT_DEFAULT", "180"))
KIND = "aio"
sleep = asyncio.sleep


async def together(*functions: Callable[[], Any]) -> list[Any]:
    return await asyncio.gather(*(function() for function in functions))


async def until(what: str, condition: Callable[[], Any]) -> None:
    """Looks until it is so; fails when patience ends."""
    end = time.monotonic() + PATIENCE
    while not await resolve(condition()):
        if time.monotonic() > end:
            raise AssertionError(f"it never came to pass: {what}")
        await asyncio.sleep(0.02)


__all__ = ["KIND", "TestCase", "connect", "sleep", "together", "until"]
