"""Transactions of 100 events against COPY of 100 rows."""
from driver.load import METADATA, PAYLOAD
from driver.registry import Bound, Case, Column, Measurement

CONDITION = "{} format, 1 client, commit {}"


def run_one(bench, contender, mode, commit):
    def run():
        return bench.tool("batch", contender.database, mode, bench.seconds,
                          options=f"-c synchronous_commit={commit}",
                          environment={"BENCH_PAYLOAD": PAYLOAD, "BENCH_METADATA": METADATA})
    return run


def cases(bench):
    contenders = {contender.name: contender for contender in bench.fresh("limit", "limit_lean", "ours")}
    made = []
    for commit in ("off", "on"):
        for form, modes in (("text", ("copy", "copy_lean", "batch")),
                            ("binary", ("copy_binary", "copy_lean_binary", "batch_binary")),
                            ("json", ("copy", "copy_lean", "json"))):
            for name, mode in zip(("limit", "limit_lean", "ours"), modes):
                if name in contenders:
                    made.append(Case(CONDITION.format(form, commit), name,
                                     run_one(bench, contenders[name], mode, commit)))
    return made


Measurement(
    name="batch",
    title="append_batch of 100 events beside COPY of 100-row transactions",
    cases=cases,
    columns=[Column("per_s", "events/s"), Column("cpu_us", "CPU us/event", "{:.1f}"),
             Column("wal_bytes", "WAL bytes/event"), Column("syncs", "flushes/event", "{:.4f}")],
    bounds=[
        Bound("append_batch of 100: throughput of COPY's, commit off, text", 0.90, True,
              lambda s: s.ratio(CONDITION.format("text", "off"), "per_s")),
        Bound("  the same, binary", 0.90, True,
              lambda s: s.ratio(CONDITION.format("binary", "off"), "per_s")),
        Bound("  the same, text, commit on", 0.90, True,
              lambda s: s.ratio(CONDITION.format("text", "on"), "per_s")),
        Bound("  the same, binary, commit on", 0.90, True,
              lambda s: s.ratio(CONDITION.format("binary", "on"), "per_s")),
    ],
    notes="""
Each transaction is one stream of 100 events. "text" and "binary" say how the rows, or the
array of events, travel; "json" is append_json beside COPY in text format. All events of a batch
have one correlation id. limit_lean has no category and none of the indexes on category, correlation
and time; no bound is measured against it.""")
