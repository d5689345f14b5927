"""What queues become under somebody else's snapshot, and how large they grow."""
import contextlib
import time

from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement
from queues import CLIENTS, all_queues, held_snapshot

FREE = "{} s of load"
HELD = "{} s of load, a snapshot held open elsewhere"
THROUGH = "{:,} messages sent and consumed"
# All that the extension or the queue's own schema has on disk.
BYTES = """SELECT coalesce(sum(pg_table_size(oid) + pg_indexes_size(oid)), 0) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = ANY (ARRAY(SELECT oid FROM pg_namespace
        WHERE nspname IN ('message_bus', 'public', 'pgq', 'pgboss', 'graphile_worker')))"""
SEGMENTS = """SELECT count(*) FROM pg_class WHERE relname ~ '^ring_[0-7]$'
    AND relnamespace = 'message_bus'::regnamespace AND pg_relation_size(oid) > 0"""
# What of ours is not the ring.
REST = """SELECT sum(pg_table_size(oid) + pg_indexes_size(oid)) FROM pg_class
    WHERE relkind = 'r' AND relname !~ '^ring_' AND relnamespace = 'message_bus'::regnamespace"""


def finish(process, what):
    if process.wait() != 0:
        raise LoadError(f"{what}: {process.stderr.read()}")


def stop(process):
    process.terminate()
    process.wait()


def left(queue):
    """How many messages wait."""
    return {
        "ours": "SELECT depth FROM message_bus.endpoints",
        "skip_locked": "SELECT count(*) FROM queue",
        "pgq": "SELECT c.pending_events + q.ev_new FROM pgq.get_consumer_info() c,"
               " pgq.get_queue_info() q",
        "pg_boss": "SELECT count(*) FROM pgboss.job WHERE name = 'bench' AND state < 'completed'",
        "graphile_worker": "SELECT count(*) FROM graphile_worker.jobs",
    }[queue.name]


def steady(bench, queue, seconds, held):
    """Producers and consumers as fast as they can for so long; counts what is consumed."""
    def run():
        server = bench.server
        queue.install(server)
        guard = held_snapshot(server, queue.database) if held else contextlib.nullcontext()
        with queue.helper(server), guard, Meter(server) as meter:
            consumers = queue.start(server, "consume", queue.consumers, 50, "-T", seconds)
            producers = queue.produce(server, 50, "-T", seconds)
            finish(producers, f"{queue.name} produce")
            finish(consumers, f"{queue.name} consume")
            sent = 50 * queue.transactions(producers)
            consumed = sent - int(server.sql(queue.database, left(queue)))
            queue.check(consumers, consumed)
            metrics = {"per_s": consumed / seconds, "sent_per_s": sent / seconds,
                       "bytes": int(server.sql(queue.database, BYTES))}
            if queue.name == "ours":
                metrics["rest_bytes"] = int(server.sql(queue.database, REST))
        return {**metrics, **meter.cost.per(max(consumed, 1))}
    return run


def through(bench, queue, messages, idle):
    """Sends so many; how large the tables are when the last one is done, and later."""
    def run():
        server = bench.server
        queue.install(server)
        with queue.helper(server), queue.watch(server) as is_empty, Meter(server) as meter:
            consumers = queue.consume(server, 50)
            producers = queue.produce(server, 50, "-t", messages // 50 // CLIENTS)
            began = time.monotonic()
            finish(producers, f"{queue.name} produce")
            while not is_empty():
                if consumers.poll() is not None:
                    raise LoadError(f"{queue.name} consume: {consumers.stderr.read()}")
                time.sleep(0.1)
            elapsed = time.monotonic() - began
            stop(consumers)
            metrics = {"per_s": messages / elapsed,
                       "bytes": int(server.sql(queue.database, BYTES))}
            if queue.name == "ours":
                metrics["segments"] = int(server.sql(queue.database, SEGMENTS))
                metrics["rest_bytes"] = int(server.sql(queue.database, REST))
                if idle:
                    metrics["idle_bytes"] = idle_bytes(server, queue)
        return {**metrics, **meter.cost.per(messages)}
    return run


def idle_bytes(server, queue):
    """The size once nobody has used the queue for as long as ids must be known, twice."""
    deadline = time.monotonic() + 200
    least = int(server.sql(queue.database, BYTES))
    while time.monotonic() < deadline and least > 8 << 20:
        time.sleep(1)
        least = min(least, int(server.sql(queue.database, BYTES)))
    return least


def conditions(quick):
    """Seconds of load; messages sent through queues that are fast enough, and through all."""
    return (10, 100_000, 10_000) if quick else (60, 1_000_000, 100_000)


def cases(bench):
    seconds, many, few = conditions(bench.quick)
    queues = bench.wanted(all_queues())
    # Whoever looks for the next message among all that wait, or among those that are done, is not.
    fast = [queue for queue in queues if queue.name in ("ours", "pgq")]
    return [Case(text.format(seconds), queue.name, steady(bench, queue, seconds, held))
            for text, held in ((FREE, False), (HELD, True)) for queue in queues] + \
           [Case(THROUGH.format(many), queue.name, through(bench, queue, many, True))
            for queue in fast] + \
           [Case(THROUGH.format(few), queue.name, through(bench, queue, few, False))
            for queue in queues]


def of(samples, text, metric, contender="ours"):
    """The median of whichever size of this condition was run, the largest first."""
    for quick in (False, True):
        seconds, many, _ = conditions(quick)
        condition = text.format(many if text == THROUGH else seconds)
        if (condition, contender, metric) in samples.rows:
            return samples.median(condition, contender, metric)
    raise KeyError(text)


Measurement(
    name="bus_ring",
    title="queues under an old snapshot, and how large they grow",
    cases=cases,
    baseline="skip_locked",
    rounds=1,
    quick_rounds=1,
    columns=[Column("per_s", "consumed/s"), Column("sent_per_s", "sent/s"),
             Column("cpu_us", "CPU us/message", "{:.1f}"), Column("bytes", "bytes"),
             Column("segments", "segments"), Column("rest_bytes", "beside the ring"),
             Column("idle_bytes", "bytes when idle")],
    bounds=[
        Bound("a snapshot held open for 60 s: consume rate by the rate without", 0.90, True,
              lambda s: of(s, HELD, "per_s") / of(s, FREE, "per_s")),
        Bound("  MB on disk beside the ring after that", 8.0, False,
              lambda s: of(s, HELD, "rest_bytes") / 1e6),
        Bound("ring segments with contents when a million messages are consumed", 2, False,
              lambda s: of(s, THROUGH, "segments"), "{:.0f}"),
    ],
    notes="""
Producers (8) and consumers (8; PgQ: 1) work as fast as they can, batches of 50; what the
producers are ahead is not consumed at the end of the time. graphile-worker hands jobs out one by
one. The ring keeps what was consumed for message_bus.dedupe_window (60 s), so that ids stay known;
"when idle" is when that has passed. pg-boss keeps completed jobs for twelve hours and longer, so
its size is of all messages; graphile-worker and the SKIP LOCKED table delete what is done.
A million messages go through those whose time per message does not grow with what waits or is
dead. The others get a tenth of that; measured alone, SKIP LOCKED took 26 s for it (and 125 s for
three times as many), graphile-worker 35 s and pg-boss, which sorts all that wait for every batch,
77 s: more than three minutes for a million, even if it took no more than ten times as long.""")
