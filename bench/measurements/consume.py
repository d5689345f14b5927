"""Consuming through the client for Node.js, beside what Node.js programs use otherwise."""
import time

from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement
from queues import CLIENTS, Library

BATCHES = "batches of 50, 8 consumers in one process"
BATCH = 50
PEERS = ("pg_boss", "graphile_worker", "emmett")


def consumers(bench, queue, messages):
    """From the start of the consumers until the last of the messages that were there is done."""
    def run():
        server = bench.server
        transactions = messages // BATCH // CLIENTS
        sent = transactions * BATCH * CLIENTS
        producer = queue.produce(server, BATCH, "-t", transactions)
        if producer.wait() != 0:
            raise LoadError(f"{queue.name} produce: {producer.stderr.read()}")
        with queue.watch(server) as is_empty, Meter(server) as meter:
            consumer = queue.consume(server, BATCH)
            began = time.monotonic()
            while not is_empty():
                if consumer.poll() is not None:
                    raise LoadError(f"{queue.name} consume: {consumer.stderr.read()}")
                time.sleep(0.02)
            elapsed = time.monotonic() - began
            consumer.terminate()
            consumer.wait()
        return {"per_s": sent / elapsed, **meter.cost.per(sent)}
    return run


def cases(bench):
    # Slow enough for a tenth to tell.
    ours, theirs = (40_000, 4_000) if bench.quick else (400_000, 40_000)
    queues = bench.wanted([Library("node_client", "ecommerce-client"), Library("pg_boss", "pg-boss"),
                           Library("graphile_worker", "graphile-worker"),
                           Library("emmett", "Emmett's consumer")])
    for queue in queues:
        queue.install(bench.server)
    return [Case(BATCHES, queue.name,
                 consumers(bench, queue, ours if queue.name == "node_client" else theirs))
            for queue in queues]


def least(samples):
    """Ours by the best of the peers, within a round."""
    return min(samples.ratio(BATCHES, "per_s", contender="node_client", to=peer)
               for peer in PEERS)


Measurement(
    name="consume",
    title="consumers in Node.js, each through its own library",
    cases=cases,
    baseline="pg_boss",
    columns=[Column("per_s", "messages/s"), Column("cpu_us", "server's CPU us/message", "{:.2f}"),
             Column("wal_bytes", "WAL bytes")],
    bounds=[Bound("consume(): times the best of pg-boss, graphile-worker, Emmett", 3.0, True,
                  least)],
    notes="""
The messages are there when the consumers start; handlers only count. One process of node, in which
ecommerce-client and graphile-worker have 8 loops, pg-boss 8 that fetch and complete 50 jobs at a time
as fast as they can, and Emmett the one puller of its consumer, which looks every millisecond.
synchronous_commit is off. Of ours there are ten times as many messages.""")
