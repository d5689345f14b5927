"""From one database to another over a link: how many, and how soon."""
import json
import os
import subprocess
import time

from brokers import AMQP, HERE, rabbitmq
from driver.daemon import daemon
from driver.load import PAYLOAD, LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

BACKLOG = "a backlog, 8 lanes, batches of 500"
FLOW = "8 senders, batches of 50, 8 lanes"
SENT = "commit at the source to handler at the target, idle"

SOURCE, TARGET = "bench_link_source", "bench_link_target"
SEND = ("SELECT pg_catalog.count(message_bus.send('out', 'OrderSubmitted', '{payload}',"
        " partition_key => i::text)) FROM pg_catalog.generate_series(1, {count}) i")
UNTIL_CARRIED = """DO $$ BEGIN
    WHILE (SELECT unconfirmed FROM message_bus.forwards) > 0 LOOP PERFORM pg_sleep(0.02); END LOOP;
    END $$"""
HANDOFF = ("SELECT message_bus.send('out', 'OrderSubmitted', '{}')",
           "CALL message_bus.wait('in', '10 s')",
           "BEGIN; SELECT delivery_id FROM message_bus.receive('in')",
           "SELECT message_bus.ack(%s); COMMIT")


def install(server):
    """The two databases anew."""
    for database in (SOURCE, TARGET):
        server.create_database(database)
        server.sql(database, "CREATE EXTENSION ecommerce")
    server.sql(SOURCE, "SELECT message_bus.create_endpoint('out', 8, forward_to => 'target')")
    server.sql(TARGET, "SELECT message_bus.create_endpoint('in', 8),"
                       " message_bus.create_link('link', 'source', 'out', 'in')")


def linkd(server):
    """The program that carries, while a block runs."""
    services = server.run_dir / "pg_service.conf"
    services.write_text("".join(
        f"[{name}]\nhost={server.run_dir}\nport={server.environment('')['PGPORT']}\n"
        f"user=postgres\ndbname={database}\n"
        for name, database in (("source", SOURCE), ("target", TARGET))))
    return daemon("linkd", "--database=service=target", "--port=54338",
                  env={"PGSERVICEFILE": str(services)})


def wait_until_carried(server, until):
    """Waits until the source was told that everything has arrived."""
    # One session that looks: a psql for each look takes as much as linkd does.
    looking = subprocess.Popen([str(server.bindir / "psql"), "-XqAt", "-c", UNTIL_CARRIED],
                               env=server.environment(SOURCE), stderr=subprocess.DEVNULL)
    try:
        until(lambda: looking.poll() is not None)
    finally:
        looking.kill()
    if looking.wait() != 0:
        raise LoadError("the source cannot be asked what has arrived")


def backlog(bench, count):
    """Everything is there when the program starts."""
    def run():
        server = bench.server
        install(server)
        for _ in range(count // 10_000):
            server.sql(SOURCE, SEND.format(payload=PAYLOAD, count=10_000))
        with Meter(server) as meter:
            began = time.monotonic()
            with linkd(server) as until:
                wait_until_carried(server, until)
                elapsed = time.monotonic() - began
        return {"per_s": count / elapsed, **meter.cost.per(count)}
    return run


def shovel(bench, count):
    """The same between two queues of a RabbitMQ, carried by its own shovel."""
    url = f"amqp://127.0.0.1:{AMQP}"
    settings = json.dumps({
        "src-protocol": "amqp091", "src-uri": url, "src-queue": "orders",
        "src-prefetch-count": 500, "dest-protocol": "amqp091", "dest-uri": url,
        "dest-queue": "arrived", "dest-queue-args": {"x-queue-type": "quorum"},
        "ack-mode": "on-confirm"})

    def program(command):
        return ["node", str(HERE / "shovel.mjs"), url, command, str(count)]

    def run():
        env = {**os.environ, "BENCH_PAYLOAD": PAYLOAD}
        with rabbitmq(bench.server, "rabbitmq_shovel") as control:
            subprocess.run(program("fill"), check=True, env=env)
            watching = subprocess.Popen(program("watch"), env=env, text=True,
                                        stdout=subprocess.PIPE)
            with Meter(bench.server) as meter:
                control("set_parameter", "shovel", "bench", settings)
                out, _ = watching.communicate(timeout=600)
        if watching.returncode != 0:
            raise LoadError(f"shovel.mjs ended with {watching.returncode}")
        # What it takes is RabbitMQ's; the driver would call it disturbed.
        return {"per_s": float(out.split()[1]), "foreign": 0.0, "syncs": meter.cost.syncs}
    return run


def flow(bench, count):
    """Sent while it is carried."""
    def run():
        server = bench.server
        install(server)
        script = server.run_dir / "send.sql"
        script.write_text(SEND.format(payload=PAYLOAD, count=50) + ";\n")
        with linkd(server) as until, Meter(server) as meter:
            began = time.monotonic()
            subprocess.run([str(server.bindir / "pgbench"), "-n", "-M", "prepared", "-c", "8",
                            "-t", str(count // 400), "-f", str(script)], check=True,
                           env=server.environment(SOURCE), capture_output=True)
            wait_until_carried(server, until)
            elapsed = time.monotonic() - began
        return {"per_s": count / elapsed, **meter.cost.per(count)}
    return run


def handoff(bench):
    """Times from a commit to the handler; a consumer waits."""
    def run():
        install(bench.server)
        with linkd(bench.server):
            return bench.tool("handoff", TARGET, 100 if bench.quick else 400, *HANDOFF,
                              environment={"SENDER_DATABASE": SOURCE})
    return run


def cases(bench):
    count = 20_000 if bench.quick else 100_000
    return [Case(BACKLOG, "ours", backlog(bench, count)),
            Case(BACKLOG, "shovel", shovel(bench, count)),
            Case(FLOW, "ours", flow(bench, count)), Case(SENT, "ours", handoff(bench))]


def milliseconds(samples, metric):
    return samples.median(SENT, "ours", metric) / 1000


Measurement(
    name="link",
    title="messages from one database to another",
    cases=cases,
    primary="per_s",
    baseline="ours",
    columns=[Column("per_s", "messages/s"), Column("cpu_us", "CPU us/message", "{:.1f}"),
             Column("wal_bytes", "WAL bytes"), Column("from_commit_p50", "from commit, p50 us"),
             Column("from_commit_p99", "p99 us")],
    bounds=[
        Bound("messages/s over a link", 10_000, True,
              lambda s: s.median(BACKLOG, "ours", "per_s"), "{:.0f}"),
        Bound("messages/s over a link, beside a shovel", 3.0, True,
              lambda s: s.ratio(BACKLOG, "per_s", to="shovel")),
        Bound("commit at the source to handler at the target, p50 in ms", 2.0, False,
              lambda s: milliseconds(s, "from_commit_p50"), "{:.3f}"),
        Bound("commit at the source to handler at the target, p99 in ms", 10.0, False,
              lambda s: milliseconds(s, "from_commit_p99"), "{:.3f}"),
    ],
    notes="""
Two databases of one server and one linkd; every acceptance is a durable commit. A backlog is timed
from the start of the program, its connections included, until the source was told of the last
message. CPU is the server's, both databases. The shovel is RabbitMQ's own, from a quorum queue to
another of the same broker, on-confirm, timed from its first message on.""")
