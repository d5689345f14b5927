"""Sending and consuming, beside queues made of rows that are locked and deleted."""
import contextlib
import time

from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement
from queues import CLIENTS, all_queues, held_snapshot

BATCHES = "batches of 50, 8 producers, 8 consumers"
SINGLE = "one by one, 8 producers, 8 consumers"
HELD = "batches of 50, a snapshot held open elsewhere"


def through(bench, queue, batch, messages, held=False):
    """From the first message sent until the last is consumed."""
    def run():
        server = bench.server
        transactions = messages // batch // CLIENTS
        sent = transactions * batch * CLIENTS
        guard = held_snapshot(server, queue.database) if held else contextlib.nullcontext()
        with queue.helper(server), guard, queue.watch(server) as is_empty, Meter(server) as meter:
            consumers = queue.consume(server, batch)
            producers = queue.produce(server, batch, "-t", transactions)
            began = time.monotonic()
            if producers.wait() != 0:
                consumers.terminate()
                raise LoadError(f"{queue.name} produce: {producers.stderr.read()}")
            produced = time.monotonic() - began
            while not is_empty():
                if consumers.poll() is not None:
                    raise LoadError(f"{queue.name} consume: {consumers.stderr.read()}")
                time.sleep(0.02)
            elapsed = time.monotonic() - began
            consumers.terminate()
            consumers.wait()
        return {"per_s": sent / elapsed, "sent_per_s": sent / produced, **meter.cost.per(sent)}
    return run


def cases(bench):
    many, few = (20_000, 4_000) if bench.quick else (200_000, 20_000)
    queues = bench.wanted(all_queues())
    for queue in queues:
        queue.install(bench.server)
    made = []
    for queue in queues:
        made += [Case(BATCHES, queue.name, through(bench, queue, 50, many // queue.part)),
                 Case(SINGLE, queue.name, through(bench, queue, 1, few // queue.part))]
        if queue.part == 1:
            made.append(Case(HELD, queue.name, through(bench, queue, 50, many, held=True)))
    return sorted(made, key=lambda case: [BATCHES, SINGLE, HELD].index(case.condition))


Measurement(
    name="bus",
    title="messages through a queue: sent, received and done",
    cases=cases,
    baseline="skip_locked",
    columns=[Column("per_s", "messages/s"), Column("sent_per_s", "sent/s"),
             Column("cpu_us", "CPU us/message", "{:.2f}"), Column("wal_bytes", "WAL bytes")],
    bounds=[
        Bound("batches of 50: times a SKIP LOCKED table", 3.0, True,
              lambda s: s.ratio(BATCHES, "per_s", to="skip_locked")),
        Bound("one by one: times a SKIP LOCKED table", 1.5, True,
              lambda s: s.ratio(SINGLE, "per_s", to="skip_locked")),
        Bound("batches of 50: times pg-boss", 5.0, True,
              lambda s: s.ratio(BATCHES, "per_s", to="pg_boss")),
        Bound("batches of 50: times graphile-worker", 5.0, True,
              lambda s: s.ratio(BATCHES, "per_s", to="graphile_worker")),
    ],
    notes="""
A run sends a number of messages and lasts until the last is consumed; producers and consumers
work at the same time. synchronous_commit is off. graphile-worker hands jobs out one by one, so
its batches are those of the producers. PgQ has one consumer, who takes all that came between two
ticks (20 ms) and settles it as a whole; "one by one" are its producers. The bound under an old
snapshot is bus_ring's, whose runs last a minute.""")
