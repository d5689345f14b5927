"""Folding an aggregate of 1000 events beside a PL/pgSQL loop."""
from driver.load import LoadError, pgbench
from driver.registry import Bound, Case, Column, Measurement

FOLD = "1000 events, SQL handlers, no snapshot, 1 client"


def run_one(bench, contender, script):
    def run():
        return pgbench(bench.server, contender, contender.script(script), clients=1,
                       seconds=bench.seconds, events=1000)
    return run


def cases(bench):
    made = []
    for contender in bench.fresh("ours"):
        bench.server.psql(contender.database, "-f", contender.script("aggregate"))
        same = bench.server.sql(contender.database, """
            SELECT bool_and(load_in_a_loop('cart-' || s) = (event_store.load('cart-' || s)).state)
            FROM generate_series(1, 20) AS s""")
        if same != "t":
            raise LoadError("load() and the loop come to different states")
        made += [Case(FOLD, "loop", run_one(bench, contender, "load_loop")),
                 Case(FOLD, "ours", run_one(bench, contender, "load"))]
    return made


Measurement(
    name="aggregate",
    title="load of an aggregate beside a PL/pgSQL loop over read_stream",
    cases=cases,
    baseline="loop",
    columns=[Column("per_s", "events/s"), Column("ms", "ms each", "{:.2f}"),
             Column("cpu_us", "CPU us/event", "{:.2f}")],
    bounds=[Bound("load of 1000 events with SQL handlers: times as fast as the loop", 5.0, True,
                  lambda s: s.ratio(FOLD, "per_s", to="loop"), "{:.1f}")],
    notes="""
The loop looks each event's handler up in a table and EXECUTEs it.""")
