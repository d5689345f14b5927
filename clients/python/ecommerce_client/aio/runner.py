"""Loops that take work, do it and wait for more: tasks of asyncio.

The one module of this directory that has a counterpart written by hand: sync/runner.py.
"""
from __future__ import annotations

import asyncio
import inspect
import logging
import random
import signal as signals
from typing import Any, Awaitable, Callable

from ..errors import HandlerTimeout

log = logging.getLogger("ecommerce")
Stop = asyncio.Event
Lock = asyncio.Lock
RESTART = (0.1, 10.0)


async def resolve(value: Any) -> Any:
    """The value of a function that may be a coroutine."""
    return await value if inspect.isawaitable(value) else value


async def backoff(attempt: int, least: float, most: float, stop: Stop | None = None) -> None:
    """Waits, longer with each attempt (from 0), and at random, lest rivals meet again."""
    seconds = min(most, least * 2 ** min(attempt, 20)) * random.uniform(0.5, 1.5)
    if stop is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except asyncio.TimeoutError:
        pass


async def limited(seconds: float, tx: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Calls a handler for so long; later, what it says through tx is refused."""
    task = asyncio.ensure_future(resolve(function(*arguments)))
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        task.result()
        return
    # A statement under way ends by its own timeout; the connection is not to be torn from it.
    await tx.end()
    task.cancel()
    await asyncio.wait({task})
    raise HandlerTimeout(f"the handler took longer than {seconds} s", sqlstate="57014")


class Answers:
    """Answers that are waited for, by the id of the question."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    def expect(self, question: str) -> None:
        self._waiting[question] = asyncio.get_running_loop().create_future()

    def arrived(self, question: str | None, answer: Any) -> None:
        future = self._waiting.get(question or "")
        if future is not None and not future.done():
            future.set_result(answer)

    async def get(self, question: str, seconds: float) -> Any:
        """The answer, or None if it has not come in time."""
        try:
            return await asyncio.wait_for(self._waiting[question], seconds)
        except asyncio.TimeoutError:
            return None

    def forget(self, question: str) -> None:
        self._waiting.pop(question, None)


class Runner:
    """turn(state, stop) does what there is and returns how much; wait(state, stop) returns when
    there may be more. A turn that fails has been rolled back and is tried again, later each time.
    """

    def __init__(self, name: str, concurrency: int,
                 turn: Callable[[dict[str, Any], Stop], Awaitable[int]],
                 wait: Callable[[dict[str, Any], Stop], Awaitable[None]]):
        self.concurrency = concurrency
        self._name, self._turn, self._wait = name, turn, wait
        self._stop = Stop()
        self._idle: list[asyncio.Future[None]] = []
        self._waiting = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def join(self) -> None:
        """Returns when it has been stopped; raises what it cannot go on after."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Takes nothing more; returns when what is in hand has been committed."""
        self.end()
        if self._task is not None:
            await asyncio.wait({self._task})

    @property
    def failed(self) -> BaseException | None:
        task = self._task
        return task.exception() if task is not None and task.done() else None

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    def end(self) -> None:
        """Takes nothing more."""
        self._stop.set()
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        self._idle.clear()

    async def _run(self) -> None:
        loops = [asyncio.ensure_future(self._loop()) for _ in range(self.concurrency)]
        try:
            await asyncio.gather(*loops)
        finally:
            self.end()
            await asyncio.wait(loops)

    async def _loop(self) -> None:
        state: dict[str, Any] = {}
        failures = 0
        while not self._stop.is_set():
            try:
                count = await self._turn(state, self._stop)
                failures = 0
                if count > 0:
                    self._wake_one()
                else:
                    await self._rest(state)
            except Exception as error:
                if getattr(error, "fatal", False):
                    raise
                log.warning("%s: %s; trying again", self._name, error)
                await backoff(failures, *RESTART, self._stop)
                failures += 1

    def _wake_one(self) -> None:
        while self._idle:
            idle = self._idle.pop(0)
            if not idle.done():
                idle.set_result(None)
                return

    async def _rest(self, state: dict[str, Any]) -> None:
        """One loop waits in the database; the others wait for it, and are woken one by one."""
        if self._stop.is_set():
            return
        if self._waiting:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
            return
        self._waiting = True
        try:
            await self._wait(state, self._stop)
        finally:
            self._waiting = False
            self._wake_one()


async def wait_cancellable(connection: Any, statement: str, values: Any, stop: Stop) -> None:
    """CALLs a procedure that waits in the database, until it returns or is to stop."""
    waiting = asyncio.ensure_future(connection.execute(statement, values))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        while not waiting.done():
            # More than once: the first may come before the statement.
            connection.cancel()
            await asyncio.wait({waiting}, timeout=0.2)
        if stop.is_set():
            # A cancel that comes late must not hit a statement of somebody else.
            await connection.close()
            waiting.exception()
            return
        waiting.result()
    finally:
        stopping.cancel()


async def until_signal(failed: Callable[[], bool]) -> None:
    """Returns on SIGTERM or SIGINT, or when failed() is true."""
    loop, stop = asyncio.get_running_loop(), Stop()
    names = (signals.SIGTERM, signals.SIGINT)
    for name in names:
        loop.add_signal_handler(name, stop.set)
    try:
        while not stop.is_set() and not failed():
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
            except asyncio.TimeoutError:
                pass
    finally:
        for name in names:
            loop.remove_signal_handler(name)
