"""From the commit of a send, or from a message's time, to the handler; what a timer costs."""
import contextlib
import time

from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement
from queues import all_queues, held_snapshot

SENT = "send to handler, one waiting consumer, commit {}"
HELD = SENT.format("on") + ", a snapshot held open elsewhere"
DUE = "scheduled 20 ms ahead, one waiting consumer"
MANY = "scheduled 1 to 3 s ahead, one waiting consumer"

# Messages of a run; a worker of pg-boss takes half a second for one.
COUNT = 400
COUNTS = {"pg_boss": 40}
POLL = "SELECT pg_catalog.pg_sleep(0.005)"
LIBRARIES = ("pg_boss", "graphile_worker")
# What handoff (src/handoff.c) runs: SEND, WAIT, TAKE, DONE.
STATEMENTS = {
    "ours": ("SELECT message_bus.send('bench', 'OrderSubmitted', '{}')",
             "CALL message_bus.wait('bench', '10 s')",
             "BEGIN; SELECT delivery_id FROM message_bus.receive('bench')",
             "SELECT message_bus.ack(%s); COMMIT"),
    "skip_locked": ("INSERT INTO queue (message) VALUES ('{}')", POLL,
                    "SELECT msg_id FROM read(50)", "DELETE FROM queue WHERE msg_id = %s"),
    "pgq": ("SELECT pgq.insert_event('bench', 'OrderSubmitted', '{}')", POLL,
            "SELECT batch FROM take() batch WHERE batch IS NOT NULL",
            "SELECT pgq.finish_batch(%s)"),
}
SCHEDULED = ("SELECT message_bus.send('bench', 'OrderSubmitted', '{}',"
             " deliver_at => pg_catalog.clock_timestamp() + '20 ms')",
             STATEMENTS["ours"][1],
             "BEGIN; SELECT delivery_id, extract(epoch FROM deliver_at) * 1000000"
             " FROM message_bus.receive('bench')", STATEMENTS["ours"][3])


def handoff(bench, queue, statements, commit="on", held=False):
    """Times from a commit to the handler; statements None: by the queue's own library."""
    count = COUNTS.get(queue.name, COUNT) // (4 if bench.quick else 1)

    def run():
        guard = held_snapshot(bench.server, queue.database) if held else contextlib.nullcontext()
        with queue.helper(bench.server), guard:
            if statements is None:
                return queue.handoff(bench.server, count, commit)
            return bench.tool("handoff", queue.database, count, *statements,
                              options=f"-c synchronous_commit={commit}")
    return run


def scheduled(bench, queue, messages):
    """Everything that messages with a time of their own cost, from the send to the ack."""
    def run():
        server = bench.server
        with queue.watch(server) as is_empty, Meter(server) as meter:
            consumer = queue.start(server, "consume_due", 1, 50, "-T", "3600")
            producer = queue.start(server, "schedule", 1, 1, "-t", messages)
            began = time.monotonic()
            if producer.wait() != 0:
                consumer.terminate()
                raise LoadError(f"{queue.name} schedule: {producer.stderr.read()}")
            while not is_empty():
                if consumer.poll() is not None:
                    raise LoadError(f"{queue.name} consume_due: {consumer.stderr.read()}")
                time.sleep(0.1)
            elapsed = time.monotonic() - began
            consumer.terminate()
            consumer.wait()
        return {"per_s": messages / elapsed, **meter.cost.per(messages)}
    return run


def cases(bench):
    made = []
    for queue in bench.wanted(all_queues(*STATEMENTS, *LIBRARIES)):
        queue.install(bench.server)
        statements = STATEMENTS.get(queue.name)
        made += [Case(SENT.format("on"), queue.name, handoff(bench, queue, statements)),
                 Case(SENT.format("off"), queue.name, handoff(bench, queue, statements, "off")),
                 Case(HELD, queue.name, handoff(bench, queue, statements, held=True))]
        if queue.name == "ours":
            made.append(Case(DUE, queue.name, handoff(bench, queue, SCHEDULED)))
        if queue.has("schedule"):
            made.append(Case(MANY, queue.name,
                             scheduled(bench, queue, 1_000 if bench.quick else 5_000)))
    order = [SENT.format("on"), SENT.format("off"), HELD, DUE, MANY]
    return sorted(made, key=lambda case: order.index(case.condition))


def milliseconds(samples, condition, metric):
    return samples.median(condition, "ours", metric) / 1000


Measurement(
    name="bus_latency",
    title="from the commit to the handler, idle server",
    cases=cases,
    primary="from_commit_p50",
    baseline="ours",
    columns=[Column("from_commit_p50", "from commit, p50 us"), Column("from_commit_p99", "p99 us"),
             Column("late_p50", "late, p50 us"), Column("late_p99", "p99 us"),
             Column("cpu_us", "CPU us/message", "{:.0f}")],
    bounds=[
        Bound("commit of send to handler, p50 in ms", 0.5, False,
              lambda s: milliseconds(s, SENT.format("on"), "from_commit_p50"), "{:.3f}"),
        Bound("commit of send to handler, p99 in ms", 3.0, False,
              lambda s: milliseconds(s, SENT.format("on"), "from_commit_p99"), "{:.3f}"),
        Bound("scheduled message to handler, p99 in ms after its time", 10.0, False,
              lambda s: milliseconds(s, DUE, "late_p99")),
        Bound("CPU per scheduled message in ms", 0.57, False,
              lambda s: milliseconds(s, MANY, "cpu_us"), "{:.3f}"),
    ],
    notes="""
"From commit" begins when the sender hears of its commit and is 0 where the consumer had the
message first; the handler starts when the consumer's client has it. Consumers of a SKIP LOCKED
table and of PgQ look every 5 ms, PgQ's daemon every 20 ms; a worker of pg-boss looks every 0.5 s,
which is the most that it allows, at 40 messages sent at any time between two looks;
graphile-worker LISTENs, and looks for scheduled jobs every 2 s. Both are driven by their own
library, in one process of node. CPU is that of all processes of the server, from the send with a
time of its own to the ack.""")
