"""Bytes on disk and in the log per event."""
from driver.load import LoadError
from driver.registry import Bound, Case, Column, Measurement

DISK = "200 000 events, 10 a stream, appended one by one"
NEW = "log, 10 000 events on new streams"
AFTER = "log, the same right after a checkpoint at 1 000 000 events"


def table_bytes(server, database):
    """Bytes of all ordinary tables, their TOAST and their indexes, outside the catalogue."""
    return int(server.sql(database, """
        SELECT sum(pg_total_relation_size(oid)) FROM pg_class
        WHERE relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::regnamespace,
                                                     'information_schema'::regnamespace)"""))


def disk(bench, contender):
    """Appends to a database of its own and looks at what has grown."""
    def run():
        database = f"{contender.database}_size"
        events = 40000 if bench.quick else 200000
        contender.install(bench.server, database)
        before = table_bytes(bench.server, database)
        metrics = contender.append(bench.server, "existing", clients=8, transactions=events // 8,
                                   synchronous_commit=False, database=database,
                                   variables={"streams": events // 80})
        grown = table_bytes(bench.server, database) - before
        bench.server.create_database(database)
        return {"disk_bytes": grown / events, "wal_bytes": metrics["wal_bytes"],
                "foreign": metrics["foreign"]}
    return run


def log(bench, contender, database, checkpoint):
    def run():
        append = {"clients": 8, "transactions": 1250, "synchronous_commit": False,
                  "database": database}
        if checkpoint:
            bench.server.sql("postgres", "CHECKPOINT")
        else:
            # The first ones write full pages, so that none falls into the run.
            contender.append(bench.server, "new", **append)
        metrics = contender.append(bench.server, "new", **append)
        if metrics["events"] != 10000:
            raise LoadError(f"{contender.name}: {metrics['events']} events instead of 10000")
        return {"wal_bytes": metrics["wal_bytes"], "foreign": metrics["foreign"]}
    return run


def cases(bench):
    contenders = bench.fresh("limit", "limit_lean", "ours")
    made = [Case(DISK, contender.name, disk(bench, contender)) for contender in contenders]
    made += [Case(NEW, contender.name, log(bench, contender, contender.database, False))
             for contender in contenders]
    for contender in contenders:
        if not contender.has("fill"):
            continue
        database = f"{contender.database}_million"
        bench.grow(contender, 100000 if bench.quick else 1000000, database)
        made.append(Case(AFTER, contender.name, log(bench, contender, database, True)))
    return made


Measurement(
    name="size",
    title="bytes on disk and of write-ahead log per event, 300-byte payload",
    cases=cases,
    primary="wal_bytes",
    rounds=3,
    quick_rounds=1,
    columns=[Column("disk_bytes", "bytes on disk/event"), Column("wal_bytes", "WAL bytes/event")],
    bounds=[
        Bound("bytes on disk per event: of the limit's", 1.0, False,
              lambda s: s.ratio(DISK, "disk_bytes")),
        Bound("WAL per event, 10 a stream, in KB", 1.0, False,
              lambda s: s.median(DISK, "ours", "wal_bytes") / 1024),
        Bound("  the same on new streams, one event each, in KB", 1.0, False,
              lambda s: s.median(NEW, "ours", "wal_bytes") / 1024),
        Bound("WAL per event right after a checkpoint at 1 million events, in KB", 1.5, False,
              lambda s: s.median(AFTER, "ours", "wal_bytes") / 1024),
    ],
    notes="""
A stream's name is 42 bytes long, as order-UUID is. "Of limit" is about the log.""")
