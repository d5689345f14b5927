"""To and from a RabbitMQ over a bridge: how many."""
import contextlib
import socket
import time

from brokers import AMQP, brokers_file, rabbitmq
from driver.daemon import daemon
from driver.load import PAYLOAD, Meter
from driver.registry import Bound, Case, Column, Measurement

OUT = "to a quorum queue, a backlog, batches of 500"
IN = "from a quorum queue, a backlog, batches of 500"
DATABASE = "bench_bridge"
HTTP = 54343
SEND = ("SELECT pg_catalog.count(message_bus.send('out', 'OrderSubmitted', '{payload}',"
        " partition_key => i::text)) FROM pg_catalog.generate_series(1, {count}) i")


def bridged(server):
    """The program that carries, while a block runs."""
    file = brokers_file(server, f"[rabbit]\nhost=127.0.0.1\nport={AMQP}\n")
    return daemon("bridged", file, f"--port={HTTP}", env=server.environment(DATABASE))


def install(server):
    """The database anew; the queue is made by the bridge that reads it."""
    server.create_database(DATABASE)
    server.sql(DATABASE, "CREATE EXTENSION ecommerce")
    server.sql(DATABASE, "SELECT message_bus.create_endpoint('out', 8, forward_to => 'rabbit'),"
               " message_bus.create_endpoint('in', 8);"
               " SELECT message_bus.create_bridge('in', 'raw',"
               " '{\"broker\": \"rabbit\", \"queue\": \"orders\", \"target\": \"in\"}')")
    with bridged(server) as until:
        until(lambda: b'direction="in"} 1' in metrics())
    server.sql(DATABASE, "SELECT message_bus.pause_bridge('in');"
               " SELECT message_bus.create_bridge('out', 'raw', '{\"endpoint\": \"out\","
               " \"destinations\": {\"OrderSubmitted\": \"orders\"}}')")


def metrics():
    """What bridged says of itself."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", HTTP)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer
    return b""


def carry(bench, count, inwards):
    """A backlog goes out; or has gone out, and comes in."""
    def run():
        server = bench.server
        with rabbitmq(server):
            install(server)
            for _ in range(count // 10_000):
                server.sql(DATABASE, SEND.format(payload=PAYLOAD, count=10_000))

            def left():
                return server.sql(DATABASE, "SELECT unconfirmed FROM message_bus.forwards") == "0"

            def arrived():
                return int(server.sql(DATABASE, "SELECT accepted FROM message_bus.bridges"
                                      " WHERE name = 'in'")) >= count

            if inwards:
                with bridged(server) as until:
                    until(left)
                server.sql(DATABASE, "SELECT message_bus.pause_bridge('out'),"
                           " message_bus.resume_bridge('in')")
            with Meter(server) as meter:
                began = time.monotonic()
                with bridged(server) as until:
                    until(arrived if inwards else left)
                    elapsed = time.monotonic() - began
        return {"per_s": count / elapsed, **meter.cost.per(count)}
    return run


def cases(bench):
    count = 20_000 if bench.quick else 50_000
    return [Case(OUT, "ours", carry(bench, count, False)),
            Case(IN, "ours", carry(bench, count, True))]


Measurement(
    name="bridge",
    title="messages to and from RabbitMQ",
    cases=cases,
    primary="per_s",
    baseline="ours",
    columns=[Column("per_s", "messages/s"), Column("cpu_us", "CPU us/message", "{:.1f}"),
             Column("wal_bytes", "WAL bytes")],
    bounds=[
        Bound("messages/s to a quorum queue", 3_000, True,
              lambda s: s.median(OUT, "ours", "per_s"), "{:.0f}"),
        Bound("messages/s from a quorum queue", 4_000, True,
              lambda s: s.median(IN, "ours", "per_s"), "{:.0f}"),
    ],
    notes="""
A RabbitMQ of its own, one node, its queue a quorum queue; one bridged. Each batch is confirmed by
the broker before the database lets it go, and on disk before the broker is told. A backlog is timed
from the start of the program, its connections included. CPU is the database server's alone.""")
