"""Sending and consuming, beside queues made of rows that are locked and deleted."""
import contextlib
import subprocess
import time
from pathlib import Path

from contenders import Contender
from driver.load import PAYLOAD, LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

CLIENTS = 8
QUEUES = {"ours": "ecommerce", "skip_locked": "SKIP LOCKED table", "pg_boss": "pg-boss",
          "graphile_worker": "graphile-worker"}
BATCHES = "batches of 50, 8 producers, 8 consumers"
SINGLE = "one by one, 8 producers, 8 consumers"
HELD = "batches of 50, a snapshot held open elsewhere"


class Queue(Contender):
    def __init__(self, name):
        super().__init__(name, QUEUES[name])
        self.database = f"bench_queue_{name}"
        self.directory = Path(__file__).resolve().parent.parent / "queues" / name

    def install(self, server, database=None):
        if self.has("setup"):
            super().install(server, database)
            return
        server.create_database(self.database)
        subprocess.run(["node", str(self.directory / "setup.mjs")], check=True,
                       env=server.environment(self.database), stdout=subprocess.DEVNULL)

    def produce(self, server, batch, transactions):
        if self.has("produce"):
            return self.start(server, "produce", batch, "-t", str(transactions))
        return self.start_node(server, "produce", batch, transactions)

    def consume(self, server, batch):
        if self.has("consume"):
            return self.start(server, "consume", batch, "-T", "3600")
        return self.start_node(server, "consume", batch, 0)

    def start_node(self, server, kind, batch, transactions):
        """Starts the peer's own library, one process with a connection per client."""
        env = dict(server.environment(self.database, "-c synchronous_commit=off"),
                   BENCH_PAYLOAD=PAYLOAD)
        return subprocess.Popen(["node", str(self.directory / "load.mjs"), kind, str(CLIENTS),
                                 str(batch), str(transactions)], env=env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

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
            consumers = queue.consume(server, batch)
            producers = queue.produce(server, batch, transactions)
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
    made = []
    for queue in queues:
        # The libraries are slow enough for a tenth to tell.
        part = 1 if queue.has("produce") else 10
        made += [Case(BATCHES, queue.name, through(bench, queue, 50, many // part)),
                 Case(SINGLE, queue.name, through(bench, queue, 1, few // part))]
        if part == 1:
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
        Bound("with a snapshot held open: rate by the rate without", 0.90, True,
              lambda s: s.ratio(HELD, "per_s", to="ours", to_condition=BATCHES)),
    ],
    notes="""
A run sends a number of messages and lasts until the last is consumed; producers and consumers
work at the same time. synchronous_commit is off. graphile-worker hands jobs out one by one, so
its batches are those of the producers.""")
