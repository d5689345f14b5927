"""What growth does to appends and short reads."""
from driver.load import pgbench
from driver.registry import Bound, Case, Column, Measurement

SIZES = {"small": 100_000, "large": 5_000_000}
APPEND = "append on existing streams, {:,} events, 8 clients, commit off"
NEW = "append on new streams, {:,} events, 8 clients, commit off"
READ = "read of a 10-event stream, {:,} events, 8 clients"


def run_append(bench, contender, kind, database):
    def run():
        return contender.append(bench.server, kind, clients=8, seconds=bench.seconds,
                                synchronous_commit=False, database=database)
    return run


def run_read(bench, contender, size, database):
    def run():
        return pgbench(bench.server, contender, contender.script("read_stream"), clients=8,
                       seconds=bench.seconds, events=10, database=database,
                       variables={"rows": 10, "prefix": "read10", "pool": size // 10})
    return run


def sizes(bench):
    return {"small": 20_000, "large": 200_000} if bench.quick else SIZES


def cases(bench):
    contenders = bench.fresh("limit", "ours")
    made = {READ: [], APPEND: [], NEW: []}
    for contender in contenders:
        for size in sizes(bench).values():
            database = f"{contender.database}_{size}"
            bench.grow(contender, size, database)
            for condition, kind in ((APPEND, "existing"), (NEW, "new")):
                made[condition].append(Case(condition.format(size), contender.name,
                                            run_append(bench, contender, kind, database)))
            made[READ].append(Case(READ.format(size), contender.name,
                                   run_read(bench, contender, size, database)))
    bench.server.sql("postgres", "CHECKPOINT")
    # The two sizes of one contender follow each other: they are what is compared.
    return [case for of_kind in made.values() for case in of_kind]


def at_size(samples, condition):
    """The greater size's rate as a part of the smaller one's."""
    found = sorted({int(c.split(", ", 1)[1].split(" events")[0].replace(",", ""))
                    for c, _, _ in samples.rows if c.startswith(condition.split(",")[0])})
    if len(found) < 2:
        raise KeyError(condition)
    return samples.ratio(condition.format(found[-1]), "per_s", to="ours",
                         to_condition=condition.format(found[0]))


Measurement(
    name="growth",
    title="appends and short reads at 5 million events beside 100 000",
    cases=cases,
    # All of it fits into memory: what is measured is depth, not disks.
    settings={"shared_buffers": "10GB"},
    columns=[Column("per_s", "events/s"), Column("ms", "ms each", "{:.3f}"),
             Column("cpu_us", "CPU us/event", "{:.2f}"), Column("wal_bytes", "WAL bytes/event")],
    bounds=[
        Bound("append at 5 million events: of that at 100 000", 0.90, True,
              lambda s: at_size(s, APPEND)),
        Bound("  the same on new streams", 0.90, True, lambda s: at_size(s, NEW)),
        Bound("read of a 10-event stream at 5 million events: of that at 100 000", 0.90, True,
              lambda s: at_size(s, READ)),
    ])
