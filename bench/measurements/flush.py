"""Flushes of the log per event while consumers follow live."""
from driver.cli import stop_background
from driver.registry import Bound, Case, Column, Measurement

ALONE = "{} clients, no subscriber"
LIVE = "{} clients, 2 consumers and a listener"


def run_one(bench, contender, clients, live):
    def run():
        followers = []
        if live:
            followers = [bench.background("consume", contender.database, "first"),
                         bench.background("consume", contender.database, "second"),
                         bench.background("listen", contender.database, "event_store")]
        metrics = contender.append(bench.server, "existing", clients=clients, seconds=bench.seconds)
        ended = [stop_background(process) for process in followers]
        if live:
            metrics["followed"] = min(run["events"] for run in ended[:2])
            metrics["batches"] = sum(run["batches"] for run in ended[:2])
        return metrics
    return run


def cases(bench):
    made = []
    contenders = bench.fresh("limit", "ours")
    for clients in (8, 32):
        for contender in contenders:
            made.append(Case(ALONE.format(clients), contender.name,
                             run_one(bench, contender, clients, False)))
        for contender in contenders:
            if contender.name == "ours":
                made.append(Case(LIVE.format(clients), contender.name,
                                 run_one(bench, contender, clients, True)))
    for contender in contenders:
        if contender.name == "ours":
            for name in ("first", "second"):
                bench.server.sql(contender.database,
                                 f"SELECT event_store.create_subscription('{name}')")
    return made


Measurement(
    name="flush",
    title="flushes per event with live subscribers, synchronous_commit on",
    cases=cases,
    columns=[Column("per_s", "events/s"), Column("syncs", "flushes/event", "{:.3f}"),
             Column("followed", "events followed"), Column("batches", "batches")],
    bounds=[
        Bound("flushes per event with live subscribers, 8 clients", 0.35, False,
              lambda s: s.median(LIVE.format(8), "ours", "syncs")),
        Bound("flushes per event with live subscribers, 32 clients", 0.15, False,
              lambda s: s.median(LIVE.format(32), "ours", "syncs")),
    ],
    notes="""
The flushes of the consumers' own transactions and of the notifier are counted in.""")
