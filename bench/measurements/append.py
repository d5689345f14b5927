"""Single appends, the expected version checked: the bound that matters most."""
from driver.cli import stop_background
from driver.registry import Bound, Case, Column, Measurement

EIGHT = "existing, 8 clients, commit off"
MANY = "existing, 32 clients, commit on"
LISTENING = MANY + ", listener"


def run_one(bench, contender, kind, clients, commit, listener):
    def run():
        watcher = bench.background("listen", contender.database, "event_store") \
            if listener else None
        metrics = bench.append(contender, f"append_{kind}", clients=clients,
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
            condition = (f"{kind}, {clients} client{'s' if clients > 1 else ''}, "
                         f"commit {'on' if commit else 'off'}")
            for contender in contenders:
                made.append(Case(condition, contender.name, run_one(
                    bench, contender, kind, clients, commit, False)))
                if contender.name == "ours" and kind == "existing" and (clients, commit) == (32, True):
                    made.append(Case(condition + ", listener", contender.name, run_one(
                        bench, contender, kind, clients, commit, True)))
    # The first run of all warms the caches and is not recorded.
    for contender in contenders:
        bench.append(contender, "append_new", clients=8, synchronous_commit=False, seconds=1)
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
              lambda s: s.ratio(EIGHT.replace("existing", "new"), "per_s")),
        Bound("append, 8 clients, commit off: CPU per event of the limit's", 1.25, False,
              lambda s: s.ratio(EIGHT, "cpu_us")),
        Bound("  the same on new streams", 1.25, False,
              lambda s: s.ratio(EIGHT.replace("existing", "new"), "cpu_us")),
        Bound("append, 32 clients, commit on, listener: of the same without", 0.90, True,
              lambda s: s.ratio(LISTENING, "per_s", to="ours", to_condition=MANY)),
        Bound("append, 32 clients, commit on, listener: of the limit's", 0.85, True,
              lambda s: s.ratio(LISTENING, "per_s", to_condition=MANY)),
    ],
    notes="""
CPU is that of all server processes, background workers included. Streams are existing ones
(100 a client, each appended to in its turn) or new ones (one event each).""")
