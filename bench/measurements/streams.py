"""Events to a stream of NATS JetStream: how many."""
import time

from brokers import HERE, NATS, brokers_file, nats
from driver.daemon import daemon
from driver.load import PAYLOAD, Meter, client_program
from driver.registry import Bound, Case, Column, Measurement

BACKLOG = "a backlog to JetStream, batches of 500"
DATABASE = "bench_streams"
HTTP = 54345
FILL = ("SELECT count(event_store.append('order-' || n % 1000, -1, 'OrderSubmitted', '{payload}'))"
        " FROM generate_series(1, {count}) n")
OUTBOX = ("CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text,"
          " body text); INSERT INTO outbox (stream, body) SELECT 'order-' || n % 1000, '{payload}'"
          " FROM generate_series(1, {count}) n")


def streamd(server):
    """The program that publishes, while a block runs."""
    file = brokers_file(server, f"[nats]\nurl=nats://127.0.0.1:{NATS}\n")
    return daemon("streamd", file, f"--port={HTTP}", env=server.environment(DATABASE))


def ours(bench, count):
    """The store is full when streamd starts; until it knows that all is there."""
    def run():
        server = bench.server
        with nats(server):
            server.create_database(DATABASE)
            server.sql(DATABASE, "CREATE EXTENSION ecommerce")
            server.sql(DATABASE, FILL.format(payload=PAYLOAD, count=count))
            server.sql(DATABASE, "SELECT event_store.create_sink('all', 'jetstream',"
                       " '{\"broker\": \"nats\"}')")
            with Meter(server) as meter:
                began = time.monotonic()
                with streamd(server) as until:
                    until(lambda: server.sql(DATABASE, "SELECT lag IS NULL AND position > 0"
                                             " FROM event_store.sinks") == "t")
                    elapsed = time.monotonic() - began
        return {"per_s": count / elapsed, **meter.cost.per(count)}
    return run


def other(bench, count, how):
    """publish.mjs, which connects before its clock runs."""
    def run():
        server = bench.server
        with nats(server) as url:
            server.create_database(DATABASE)
            if how == "relay":
                server.sql(DATABASE, OUTBOX.format(payload=PAYLOAD, count=count))
                server.sql(DATABASE, "VACUUM ANALYZE outbox")
            return client_program(
                server, ["node", str(HERE / "publish.mjs"), url, how, str(count)],
                {**server.environment(DATABASE), "BENCH_PAYLOAD": PAYLOAD})
    return run


def cases(bench):
    count = 20_000 if bench.quick else 100_000
    return [Case(BACKLOG, "ours", ours(bench, count)),
            *(Case(BACKLOG, how, other(bench, count, how)) for how in ("relay", "plain"))]


Measurement(
    name="streams",
    title="events to NATS JetStream",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    primary="per_s",
    baseline="relay",
    columns=[Column("per_s", "events/s"), Column("cpu_us", "CPU us/event", "{:.1f}"),
             Column("wal_bytes", "WAL bytes")],
    bounds=[Bound("events/s beside a relay of an outbox", 1.0, True,
                  lambda s: s.ratio(BACKLOG, "per_s", to="relay"))],
    notes="""
A nats-server of its own. Ours is timed from the start of streamd, its connections included, until
the database was told that all is there: each event once. The relay is node with the table and the
statements of a common outbox, plain is node that publishes and asks no database; both are timed
from when they have connected, and may publish twice. CPU is the database server's alone.""")
