"""What the tests need of threads; aio/support.py is the same for asyncio."""
from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable
from unittest import TestCase

from ecommerce_client import connect

PATIENCE = float(os.environ.get("PG_TEST_TIMEOUT_DEFAULT", "180"))
KIND = "sync"
sleep = time.sleep


def together(*functions: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(f) for f in functions]]


def until(what: str, condition: Callable[[], Any]) -> None:
    """Looks until it is so; fails when patience ends."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"it never came to pass: {what}")
        time.sleep(0.02)


__all__ = ["KIND", "TestCase", "connect", "sleep", "together", "until"]
