"""Reads beside the bare SELECT of the same rows."""
from driver.load import pgbench
from driver.registry import Bound, Case, Column, Measurement

# How many streams there are of each length.
STREAMS = {10: 5000, 1000: 50}

# (condition, script, rows a run, clients)
READS = [("stream of 10 events, 8 clients", "read_stream", 10, 8),
         ("stream of 1000 events, 8 clients", "read_stream", 1000, 8),
         ("stream of 10 events, 1 client", "read_stream", 10, 1),
         ("stream of 1000 events, 1 client", "read_stream", 1000, 1),
         ("100 000 events of all, 1 client", "read_all", 100000, 1)]


def run_one(bench, contender, script, rows, clients):
    def run():
        return pgbench(bench.server, contender, contender.script(script), clients=clients,
                       seconds=bench.seconds + 1, events=rows,
                       variables={"rows": rows, "prefix": f"read{rows}",
                                  "pool": STREAMS.get(rows, 0)})
    return run


def cases(bench):
    contenders = bench.fresh("limit", "ours", "message_db", "emmett")
    for contender in contenders:
        for length, streams in STREAMS.items():
            bench.fill(contender, f"read{length}", streams, length)
        bench.server.sql(contender.database, "VACUUM ANALYZE")
    return [Case(condition, contender.name, run_one(bench, contender, script, rows, clients))
            for condition, script, rows, clients in READS for contender in contenders
            if contender.has(script)]


Measurement(
    name="read",
    title="reads beside the bare SELECT",
    cases=cases,
    columns=[Column("per_s", "events/s"), Column("ms", "ms each", "{:.3f}"),
             Column("cpu_us", "CPU us/event", "{:.2f}")],
    bounds=[Bound(f"read of {condition}: of the bare SELECT's", 0.90, True,
                  lambda s, condition=condition: s.ratio(condition, "per_s"))
            for condition, _, _, _ in READS],
    notes="""
5000 streams of 10 events and 50 of 1000, in random order, all in memory; rows travel as text.""")
