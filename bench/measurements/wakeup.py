"""From a commit to the wake-up of a consumer, on an idle server."""
from driver.registry import Bound, Case, Column, Measurement

CALL = "CALL event_store.wait, commit {}"


def run_one(bench, contender, mode, commit):
    def run():
        return bench.tool("wakeup", contender.database, mode, 100 if bench.quick else 400,
                          options=f"-c synchronous_commit={commit}")
    return run


def cases(bench):
    made = []
    for contender in bench.fresh("ours"):
        made += [
            Case(CALL.format("on"), contender.name, run_one(bench, contender, "call", "on")),
            Case(CALL.format("off"), contender.name, run_one(bench, contender, "call", "off")),
            Case("LISTEN event_store, commit on", contender.name,
                 run_one(bench, contender, "notify", "on"))]
    return made


def milliseconds(samples, commit, metric):
    return samples.median(CALL.format(commit), "ours", metric) / 1000


Measurement(
    name="wakeup",
    title="commit to wake-up, one appender, one waiter, idle server",
    cases=cases,
    primary="from_commit_p50",
    columns=[Column("from_commit_p50", "from commit, p50 us"), Column("from_commit_p99", "p99 us"),
             Column("from_send_p50", "from sending, p50 us"), Column("from_send_p99", "p99 us")],
    bounds=[
        Bound("commit to wake-up by CALL wait, p50 in ms", 0.2, False,
              lambda s: milliseconds(s, "on", "from_commit_p50"), "{:.3f}"),
        Bound("commit to wake-up by CALL wait, p99 in ms", 1.0, False,
              lambda s: milliseconds(s, "on", "from_commit_p99"), "{:.3f}"),
        Bound("  p50 with synchronous_commit off", 0.2, False,
              lambda s: milliseconds(s, "off", "from_commit_p50"), "{:.3f}"),
        Bound("  p99 with synchronous_commit off", 1.0, False,
              lambda s: milliseconds(s, "off", "from_commit_p99"), "{:.3f}"),
    ],
    notes="""
"From commit" begins when the appender hears of its commit and is 0 where the waiter heard
first; with synchronous_commit off the waiter flushes the log before it hands out the mark. "From
sending" begins before the append and so contains it and its flush.
A notification waits for event_store.notify_interval (10 ms) where one was sent just before.""")
