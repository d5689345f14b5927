"""Single appends, the expected version checked: the bound that matters most."""
from driver.cli import stop_background
from driver.registry import Bound, Case, Column, Measurement

CONDITION = "{}, {} client(s), commit {}"
EIGHT = CONDITION.format("existing", 8, "off")
EIGHT_NEW = CONDITION.format("new", 8, "off")
MANY = CONDITION.format("existing", 32, "on")
LISTENING = MANY + ", listener"


def run_one(bench, contender, kind, clients, commit, listener):
    def run():
        watcher = bench.background("listen", contender.database, "event_store") \
            if listener else None
        metrics = contender.append(bench.server, kind, clients=clients, seconds=bench.seconds,
                                   synchronous_commit=commit)
        if watcher:
            metrics["notified"] = stop_background(watcher)["notifications"]
        return metrics
    return run


def cases(bench):
    contenders = bench.fresh()
    settings = [(1, False), (1, True), (8, False), (8, True), (32, False), (32, True)]
    if bench.quick:
        settings = [(8, False), (32, True)]
    made = []
    for kind in ("new", "existing"):
        for clients, commit in settings:
            condition = CONDITION.format(kind, clients, "on" if commit else "off")
            made += [Case(condition, contender.name,
                          run_one(bench, contender, kind, clients, commit, False))
                     for contender in contenders]
            if condition == MANY:
                made += [Case(LISTENING, contender.name,
                              run_one(bench, contender, kind, clients, commit, True))
                         for contender in contenders if contender.name == "ours"]
    # The first run of all warms the caches and is not recorded.
    for contender in contenders:
        contender.append(bench.server, "new", clients=8, synchronous_commit=False, seconds=1)
    return made


Measurement(
    name="append",
    title="single append with the expected version checked, 300-byte payload",
    cases=cases,
    columns=[Column("per_s", "events/s"), Column("ms", "ms each", "{:.3f}"),
             Column("cpu_us", "CPU us/event", "{:.1f}"),
             Column("wal_bytes", "WAL bytes/event"), Column("syncs", "flushes/event", "{:.3f}"),
             Column("notified", "notifications")],
    bounds=[
        Bound("append, 8 clients, commit off: throughput of the limit's", 0.90, True,
              lambda s: s.ratio(EIGHT, "per_s")),
        Bound("  the same on new streams", 0.90, True,
              lambda s: s.ratio(EIGHT_NEW, "per_s")),
        Bound("append, 8 clients, commit off: CPU per event of the limit's", 1.25, False,
              lambda s: s.ratio(EIGHT, "cpu_us")),
        Bound("  the same on new streams", 1.25, False,
              lambda s: s.ratio(EIGHT_NEW, "cpu_us")),
        Bound("append, 32 clients, commit on, listener: of the same without", 0.90, True,
              lambda s: s.ratio(LISTENING, "per_s", to="ours", to_condition=MANY)),
        Bound("append, 32 clients, commit on, listener: of the limit's", 0.85, True,
              lambda s: s.ratio(LISTENING, "per_s", to_condition=MANY)),
    ],
    notes="""
CPU is that of all server processes, background workers included. limit_lean has none of the
indexes on category, correlation and time; no bound is measured against it. Streams are existing ones
(100 a client, each appended to in its turn) or new ones (one event each). All is driven by
pgbench over prepared statements, but emmett_node by Emmett's own library in one process.""")
