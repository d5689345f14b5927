"""Calls over the facade of cells that PL/Proxy makes, beside the same calls in the cell."""
import os
import re
import subprocess

from driver.load import PAYLOAD, LoadError, Meter
from driver.registry import Bound, Case, Column, Measurement

CELL, FACADE = "bench_facade_cell1", "bench_facade"
APPEND, READ = "append to a new stream, 4 clients", "stream of 10 events, 4 clients"
# The id that a client takes has the cell's number in it, wherever it comes from.
STREAM = ("SELECT 'order-' || overlay(ecommerce.new_id()::text PLACING '7001' FROM 15) AS stream"
          " \\gset\n")
CALLS = {APPEND: STREAM + "SELECT * FROM {schema}.append(:stream, 0, 'OrderSubmitted',"
                          " '{data}');",
         READ: "\\set n random(1, 500)\n"
               "SELECT * FROM {schema}.read_stream('order-00000000-0000-7001-8000-'"
               " || lpad(:n::text, 12, '0'));"}


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


def run_one(bench, condition, schema, database):
    def run():
        server = bench.server
        script = server.run_dir / "facade.sql"
        script.write_text(CALLS[condition].replace("{schema}", schema).replace("{data}", PAYLOAD)
                          + "\n")
        with Meter(server) as meter:
            done = subprocess.run(
                [str(server.bindir / "pgbench"), "-n", "-M", "prepared", "-c", "4", "-j", "2", "-T",
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
    return [Case(condition, contender, run_one(bench, condition, schema, database))
            for condition in CALLS
            for contender, schema, database in (("direct", "event_store", CELL),
                                                ("facade", "cells", FACADE))]


def ratio(samples, condition):
    """What is left of a direct call's rate."""
    return (samples.median(condition, "facade", "per_s")
            / samples.median(condition, "direct", "per_s"))


Measurement(
    name="facade",
    title="calls over a facade of cells beside direct ones",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    columns=[Column("per_s", "calls/s"), Column("cpu_us", "CPU us/call")],
    bounds=[Bound(f"{condition}: of the direct call's", 0.5, True,
                  lambda s, condition=condition: ratio(s, condition)) for condition in CALLS],
    notes="""
Cell and facade are two databases of one server, so both sides of a call use the same two
processors. CPU is the server's, both databases. The bound was set for calls that plan as PL/Proxy's
do; a direct read that was prepared costs less than half of one that was not, and PL/Proxy prepares
none, so its reads stay below it.""")
