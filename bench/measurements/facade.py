"""Calls over the facade of cells that PL/Proxy makes, beside the same calls in the cell."""
import os
import re
import subprocess

from driver.load import PAYLOAD, LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

CELL, FACADE = "bench_facade_cell1", "bench_facade"
APPEND, READ = "append to a new stream, 4 clients", "stream of 10 events, 4 clients"
# A call that costs the cell next to nothing: what is left is the way there and back.
VERSION = "version of a stream, 4 clients"
# The id that a client takes has the cell's number in it, wherever it comes from.
STREAM = ("SELECT 'order-' || overlay(ecommerce.new_id()::text PLACING '7001' FROM 15) AS stream"
          " \\gset\n")
ANY = "\\set n random(1, 500)\n"
NAME = "'order-00000000-0000-7001-8000-' || lpad(:n::text, 12, '0')"
CALLS = {APPEND: STREAM + "SELECT * FROM {schema}.append(:stream, 0, 'OrderSubmitted',"
                          " '{data}');",
         READ: ANY + f"SELECT * FROM {{schema}}.read_stream({NAME});",
         VERSION: ANY + f"SELECT {{schema}}.stream_version({NAME});"}
# PL/Proxy prepares nothing in the cell; "unprepared" calls there as it does, each call planned
# anew. Contender, schema, database, pgbench's protocol.
PREPARED, UNPREPARED = "direct", "unprepared"
CONTENDERS = ((PREPARED, "event_store", CELL, "prepared"),
              (UNPREPARED, "event_store", CELL, "extended"),
              ("facade", "cells", FACADE, "prepared"))


def install(server):
    """One cell, and a database with a facade of it; PL/Proxy finds it by its address."""
    for database in (CELL, FACADE):
        server.create_database(database)
        server.sql(database, "CREATE EXTENSION ecommerce")
    server.sql(CELL, f"ALTER DATABASE {CELL} SET ecommerce.cell = 1")
    address = f"host={server.run_dir} port={server.environment('')['PGPORT']} dbname={CELL}"
    statements = server.sql(FACADE, "SELECT string_agg(f, E';\\n' ORDER BY n) FROM"
                            " ecommerce.facade('{cell1}') WITH ORDINALITY t (f, n)")
    server.sql(FACADE, statements.replace("service=''cell1''", address))
    server.sql(CELL, "SELECT count(event_store.append('order-00000000-0000-7001-8000-'"
               f" || lpad(n::text, 12, '0'), -1, 'OrderSubmitted', '{PAYLOAD}'))"
               " FROM generate_series(1, 500) n, generate_series(1, 10)")


def run_one(bench, condition, schema, database, protocol):
    def run():
        server = bench.server
        script = server.run_dir / "facade.sql"
        script.write_text(CALLS[condition].replace("{schema}", schema).replace("{data}", PAYLOAD)
                          + "\n")
        with Meter(server) as meter:
            done = subprocess.run(
                [str(server.bindir / "pgbench"), "-n", "-M", protocol, "-c", "4", "-j", "2", "-T",
                 str(bench.seconds + 1), "-f", str(script)], capture_output=True, text=True,
                check=False, env={**os.environ, **server.environment(database)})
        if done.returncode != 0 or "failed transactions: 0 " not in done.stdout:
            raise LoadError(f"{schema}: {done.stderr[:500]}")
        ran = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
        tps = float(re.search(r"^tps = ([\d.]+) \(without", done.stdout, re.M).group(1))
        return {"per_s": tps, **meter.cost.per(ran)}
    return run


def cases(bench):
    install(bench.server)
    return [Case(condition, contender, run_one(bench, condition, *how))
            for condition in CALLS for contender, *how in CONTENDERS]


def bound(condition, beside, text):
    """What is left of the rate of a call without the facade; of one round, both."""
    return Bound(f"{condition}: {text}", 0.5, True,
                 lambda s: s.ratio(condition, "per_s", "facade", beside))


Measurement(
    name="facade",
    title="calls over a facade of cells beside direct ones",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    columns=[Column("per_s", "calls/s"), Column("cpu_us", "CPU us/call")],
    baseline=PREPARED,
    bounds=[bound(condition, *beside) for condition in (APPEND, READ)
            for beside in ((PREPARED, "of a direct call"),
                           (UNPREPARED, "of a direct call that is not prepared either"))],
    notes="""
Cell and facade are two databases of one server, so both sides of a call use the same two
processors. CPU is the server's, both databases. PL/Proxy prepares nothing in the cell: "unprepared"
is what a call costs there. The version of a stream is one number, read from one row: what it costs
over the facade beyond the direct call is the way, which no function in the cell makes shorter.""")
