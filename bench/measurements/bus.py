"""Sending and consuming, beside queues made of rows that are locked and deleted."""
import contextlib
import subprocess
import time
from pathlib import Path

from contenders import Contender
from driver.load import PAYLOAD, LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

CLIENTS = 8
QUEUES = {"ours": "ecommerce", "skip_locked": "SKIP LOCKED table"}
BATCHES = "batches of 50, 8 producers, 8 consumers"
SINGLE = "one by one, 8 producers, 8 consumers"
HELD = "batches of 50, a snapshot held open elsewhere"


class Queue(Contender):
    def __init__(self, name):
        super().__init__(name, QUEUES[name])
        self.database = f"bench_queue_{name}"
        self.directory = Path(__file__).resolve().parent.parent / "queues" / name

    def start(self, server, script, batch, *options):
        """Starts a pgbench; synchronous_commit is off, as the bounds say."""
        command = [str(server.bindir / "pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS),
                   "-j", "1", "-f", str(self.script(script)), "-D", f"batch={batch}",
                   "-D", f"data={PAYLOAD}", *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                env=server.environment(self.database, "-c synchronous_commit=off"))

    def is_empty(self, server):
        return server.sql(self.database, self.script("empty").read_text()) == "t"


@contextlib.contextmanager
def held_snapshot(server, database):
    """A session with an open REPEATABLE READ snapshot, for as long as the block lasts."""
    session = subprocess.Popen([str(server.bindir / "psql"), "-XqAt"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env=server.environment(database))
    session.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;\n")
    session.stdin.flush()
    session.stdout.readline()
    try:
        yield
    finally:
        session.stdin.close()
        session.wait()


def through(bench, queue, batch, messages, held=False):
    """From the first message sent until the last is consumed."""
    def run():
        server = bench.server
        transactions = messages // batch // CLIENTS
        sent = transactions * batch * CLIENTS
        guard = held_snapshot(server, queue.database) if held else contextlib.nullcontext()
        with guard, Meter(server) as meter:
            began = time.monotonic()
            consumers = queue.start(server, "consume", batch, "-T", "3600")
            producers = queue.start(server, "produce", batch, "-t", str(transactions))
            if producers.wait() != 0:
                consumers.terminate()
                raise LoadError(f"{queue.name} produce: {producers.stderr.read().decode()}")
            produced = time.monotonic() - began
            while not queue.is_empty(server):
                if consumers.poll() is not None:
                    raise LoadError(f"{queue.name} consume: {consumers.stderr.read().decode()}")
                time.sleep(0.02)
            elapsed = time.monotonic() - began
            consumers.terminate()
            consumers.wait()
        return {"per_s": sent / elapsed, "sent_per_s": sent / produced, **meter.cost.per(sent)}
    return run


def cases(bench):
    many, few = (20_000, 4_000) if bench.quick else (200_000, 20_000)
    queues = [Queue(name) for name in QUEUES]
    for queue in queues:
        queue.install(bench.server)
    made = [Case(BATCHES, queue.name, through(bench, queue, 50, many)) for queue in queues]
    made += [Case(SINGLE, queue.name, through(bench, queue, 1, few)) for queue in queues]
    made += [Case(HELD, queue.name, through(bench, queue, 50, many, held=True))
             for queue in queues]
    return made


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
        Bound("with a snapshot held open: rate by the rate without", 0.90, True,
              lambda s: s.ratio(HELD, "per_s", to="ours", to_condition=BATCHES)),
    ],
    notes="""
A run sends a number of messages and lasts until the last is consumed; producers and consumers
work at the same time. synchronous_commit is off.""")
