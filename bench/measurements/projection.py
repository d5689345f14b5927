"""Projections: what an inline one costs an append, how fast an async one and a rebuild are."""
import time

from driver.load import LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

APPEND = "append on new streams, 8 clients, commit off"
CATCH_UP = "catching up with {:,} events"
REBUILD = "rebuild over {:,} events, while 1 client appends"
ALONE = "rebuild over {:,} events, nobody appends"

# A rebuild must get through a million events; a first look is content with less.
EVENTS = 1_000_000
QUICK_EVENTS = 50_000


def run_append(bench, contender, database):
    def run():
        return contender.append(bench.server, "new", clients=8, seconds=bench.seconds,
                                synchronous_commit=False, database=database)
    return run


def wait_until(bench, database, condition):
    while bench.server.sql(database, f"SELECT {condition}") != "t":
        time.sleep(0.02)


def measured(bench, events, body):
    """Runs body; returns what it cost per event."""
    with Meter(bench.server) as meter:
        started = time.monotonic()
        body()
        seconds = time.monotonic() - started
    return {"per_s": events / seconds, "ms": seconds * 1e3, **meter.cost.per(events)}


def run_async(bench, database, events):
    def body():
        bench.server.sql(database, "SELECT event_store.create_projection("
                                   "'tally', 'note(event_store.event)', tables => '{tally}')")
        wait_until(bench, database, "checkpoint = head FROM event_store.projections")

    def run():
        result = measured(bench, events, body)
        if bench.server.sql(database, "SELECT sum(events) FROM tally") != str(events):
            raise LoadError("the projection did not see every event once")
        bench.server.sql(database, "SELECT event_store.drop_projection('tally')")
        bench.server.sql(database, "TRUNCATE tally")
        return result
    return run


def run_by_hand(bench, database, events):
    def run():
        bench.server.sql(database, "UPDATE checkpoint_by_hand SET position = 0")
        bench.server.sql(database, "TRUNCATE tally_by_hand")
        return measured(bench, events,
                        lambda: bench.server.psql(database, "-c", "CALL catch_up_by_hand()",
                                                  options="-c synchronous_commit=off"))
    return run


def run_rebuild(bench, contender, database, events):
    def body():
        bench.server.sql(database, "SELECT event_store.rebuild_projection('tally_inline')")
        while bench.server.sql(database, "SELECT state FROM event_store.projections") != "running":
            # Appends are not stopped; each comes through while the rebuild goes on.
            contender.append(bench.server, "new", clients=1, seconds=1, database=database,
                             synchronous_commit=False)

    def run():
        result = measured(bench, events, body)
        lost = bench.server.sql(database, """
            SELECT (SELECT sum(events) FROM tally_inline)
                <> (SELECT count(*) FROM event_store.stored_event)""")
        if lost != "f":
            raise LoadError("after the rebuild the projection has not every event once")
        return result
    return run


def run_rebuild_async(bench, database, events, name, handler):
    """Rebuilds an async projection that has caught up, while nobody appends."""
    def current():
        wait_until(bench, database, "checkpoint >= head AND state = 'running' "
                                    f"FROM event_store.projections WHERE name = '{name}'")

    def body():
        bench.server.sql(database, f"SELECT event_store.rebuild_projection('{name}')")
        current()

    def run():
        bench.server.sql(database, f"SELECT event_store.create_projection('{name}', '{handler}', "
                                   f"tables => '{{{name}}}')")
        current()
        result = measured(bench, events, body)
        if bench.server.sql(database, f"SELECT sum(events) FROM {name}") != str(events):
            raise LoadError("after the rebuild the projection has not every event once")
        bench.server.sql(database, f"SELECT event_store.drop_projection('{name}')")
        bench.server.sql(database, f"TRUNCATE {name}")
        return result
    return run


def cases(bench):
    events = QUICK_EVENTS if bench.quick else EVENTS
    made = []
    for contender in bench.fresh("ours"):
        inline = f"{contender.database}_inline"
        grown = f"{contender.database}_{events}"
        contender.install(bench.server, inline)
        bench.grow(contender, events, grown)
        for database in (inline, grown):
            bench.server.psql(database, "-f", contender.script("projection"))
        bench.server.sql(inline, "SELECT event_store.create_projection('tally_inline', "
                                 "'note_inline(event_store.event)', mode => 'inline')")
        made += [Case(APPEND, "none", run_append(bench, contender, contender.database)),
                 Case(APPEND, "inline", run_append(bench, contender, inline)),
                 Case(CATCH_UP.format(events), "by hand", run_by_hand(bench, grown, events)),
                 Case(CATCH_UP.format(events), "async", run_async(bench, grown, events))]
        rebuilt = f"{contender.database}_rebuilt"
        bench.grow(contender, events, rebuilt)
        bench.server.psql(rebuilt, "-f", contender.script("projection"))
        bench.server.sql(rebuilt, "SELECT event_store.create_projection('tally_inline', "
                                  "'note_inline(event_store.event)', mode => 'inline', "
                                  "tables => '{tally_inline}')")
        made.append(Case(REBUILD.format(events), "inline",
                         run_rebuild(bench, contender, rebuilt, events)))
        made += [Case(ALONE.format(events), "an event a call",
                      run_rebuild_async(bench, grown, events, "tally", "note(event_store.event)")),
                 Case(ALONE.format(events), "arrays",
                      run_rebuild_async(bench, grown, events, "tally_batch",
                                        "note_batch(event_store.event[])"))]
    return made


def gained_by_arrays(samples):
    return samples.ratio(ALONE.format(EVENTS), "per_s", contender="arrays", to="an event a call")


def lost_to_inline(samples):
    return samples.ratio(APPEND, "per_s", contender="inline", to="none")


Measurement(
    name="projection",
    title="projections: inline, async and their rebuild",
    cases=cases,
    baseline="by hand",
    columns=[Column("per_s", "events/s"), Column("ms", "ms each"),
             Column("cpu_us", "CPU us/event", "{:.1f}"), Column("wal_bytes", "WAL bytes/event"),
             Column("syncs", "flushes/event", "{:.4f}")],
    bounds=[Bound("append with an inline projection: of that without", 0.25, True, lost_to_inline),
            Bound("rebuild by a handler of arrays: times one of single events", 5, True,
                  gained_by_arrays)],
    rounds=3,
    notes="""
The handler is one INSERT ... ON CONFLICT DO UPDATE in language SQL, of the stream's row. "by hand"
is a PL/pgSQL loop over read_all that does the same in batches of 500 with a checkpoint, nothing
else: no handler of its own rights, no failures kept apart. "arrays" takes event_store.event[] and
groups it. The first bound is ours, to notice a loss.""")
