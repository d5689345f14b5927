"""Loops that take work, do it and wait for more: threads.

The one module of this directory that is written by hand: the others are made of those in aio/.
"""
from __future__ import annotations

import logging
import queue
import random
import signal as signals
import threading
import time
from typing import Any, Callable

from ..errors import HandlerTimeout

log = logging.getLogger("ecommerce")
Lock = threading.Lock
RESTART = (0.1, 10.0)


class Stop(threading.Event):
    """Set when a runner is to end; knows what waits in the database meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: set[Any] = set()
        self.lock = threading.Lock()

    def cancel_waits(self) -> None:
        with self.lock:
            for connection in self.waits:
                connection.cancel()


def resolve(value: Any) -> Any:
    return value


def backoff(attempt: int, least: float, most: float, stop: Stop | None = None) -> None:
    """Waits, longer with each attempt (from 0), and at random, lest rivals meet again."""
    seconds = min(most, least * 2 ** min(attempt, 20)) * random.uniform(0.5, 1.5)
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)


def limited(seconds: float, tx: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Calls a handler. A thread cannot be ended: its statements are, by their timeout, and what is
    late has failed when it returns.
    """
    began = time.monotonic()
    function(*arguments)
    if time.monotonic() - began > seconds:
        tx.end()
        raise HandlerTimeout(f"the handler took longer than {seconds} s", sqlstate="57014")


class Answers:
    """Answers that are waited for, by the id of the question."""

    def __init__(self) -> None:
        self._waiting: dict[str, queue.SimpleQueue[Any]] = {}

    def expect(self, question: str) -> None:
        self._waiting[question] = queue.SimpleQueue()

    def arrived(self, question: str | None, answer: Any) -> None:
        waiting = self._waiting.get(question or "")
        if waiting is not None:
            waiting.put(answer)

    def get(self, question: str, seconds: float) -> Any:
        """The answer, or None if it has not come in time."""
        try:
            return self._waiting[question].get(timeout=seconds)
        except queue.Empty:
            return None

    def forget(self, question: str) -> None:
        self._waiting.pop(question, None)


class Runner:
    """turn(state, stop) does what there is and returns how much; wait(state, stop) returns when
    there may be more. A turn that fails has been rolled back and is tried again, later each time.
    """

    def __init__(self, name: str, concurrency: int,
                 turn: Callable[[dict[str, Any], Stop], int],
                 wait: Callable[[dict[str, Any], Stop], None]):
        self.concurrency = concurrency
        self.failed: BaseException | None = None
        self._name, self._turn, self._wait = name, turn, wait
        self._stop = Stop()
        self._lock = threading.Lock()
        self._idle: list[threading.Event] = []
        self._waiting = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._loop, name=self._name, daemon=True)
                         for _ in range(self.concurrency)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Returns when it has been stopped; raises what it cannot go on after."""
        for thread in self._threads:
            thread.join()
        if self.failed is not None:
            raise self.failed

    def stop(self) -> None:
        """Takes nothing more; returns when what is in hand has been committed."""
        self.end()
        for thread in self._threads:
            while thread.is_alive() and thread is not threading.current_thread():
                # More than once: the first may have come before the statement.
                self._stop.cancel_waits()
                thread.join(0.2)

    @property
    def ended(self) -> bool:
        return bool(self._threads) and not any(t.is_alive() for t in self._threads)

    def end(self) -> None:
        """Takes nothing more."""
        self._stop.set()
        with self._lock:
            for idle in self._idle:
                idle.set()
            self._idle.clear()
        self._stop.cancel_waits()

    def _loop(self) -> None:
        state: dict[str, Any] = {}
        failures = 0
        while not self._stop.is_set():
            try:
                count = self._turn(state, self._stop)
                failures = 0
                if count > 0:
                    self._wake_one()
                else:
                    self._rest(state)
            except Exception as error:
                if getattr(error, "fatal", False):
                    self.failed = error
                    self.end()
                    return
                log.warning("%s: %s; trying again", self._name, error)
                backoff(failures, *RESTART, self._stop)
                failures += 1

    def _wake_one(self) -> None:
        with self._lock:
            if self._idle:
                self._idle.pop(0).set()

    def _rest(self, state: dict[str, Any]) -> None:
        """One loop waits in the database; the others wait for it, and are woken one by one."""
        idle = threading.Event()
        with self._lock:
            if self._stop.is_set():
                return
            others = self._waiting
            if others:
                self._idle.append(idle)
            else:
                self._waiting = True
        if others:
            idle.wait()
            return
        try:
            self._wait(state, self._stop)
        finally:
            with self._lock:
                self._waiting = False
            self._wake_one()


def wait_cancellable(connection: Any, statement: str, values: Any, stop: Stop) -> None:
    """CALLs a procedure that waits in the database, until it returns or is to stop."""
    with stop.lock:
        if stop.is_set():
            return
        stop.waits.add(connection)
    try:
        connection.execute(statement, values)
    except Exception:
        if not stop.is_set():
            raise
    finally:
        with stop.lock:
            stop.waits.discard(connection)
        if stop.is_set():
            # A cancel that comes late must not hit a statement of somebody else.
            connection.close()


def until_signal(failed: Callable[[], bool]) -> None:
    """Returns on SIGTERM or SIGINT, or when failed() is true. For the main thread."""
    stop = threading.Event()
    names = (signals.SIGTERM, signals.SIGINT)
    before = [signals.signal(name, lambda *_: stop.set()) for name in names]
    try:
        while not stop.wait(0.5) and not failed():
            pass
    finally:
        for name, handler in zip(names, before):
            signals.signal(name, handler)
