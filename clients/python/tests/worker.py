"""The worker that t/Clients.pm kills: see there. Usage: worker.py sync|aio"""
import asyncio
import os
import signal
import sys
import threading
import time

from ecommerce_client import aio, connect


def deadly(message, tx):
    os.kill(os.getpid(), signal.SIGKILL)


def note(kind):
    def handler(item, tx):
        n = (item.body if kind == "message" else item.data)["n"]
        return tx.query("INSERT INTO effect VALUES (%s, %s)", [kind, n])
    return handler


def tell():
    while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        time.sleep(0.01)
    print("ready", os.getpid(), flush=True)


def begin(db):
    threading.Thread(target=tell, daemon=True).start()
    # One loop: with two, what the other has in hand dies with the deadly message too.
    db.bus.consume("work", {"Work": note("message"), "Deadly": deadly}, batch=20)
    db.store.subscribe("follow", note("event"), category="thing", concurrency=2, batch=20)


async def run():
    async with aio.connect(max_size=6) as db:
        begin(db)
        await db.until_signal()


if sys.argv[1] == "aio":
    asyncio.run(run())
else:
    db = connect(max_size=6)
    begin(db)
    db.until_signal()
