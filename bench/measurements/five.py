"""The shop with a database for each service, on three servers of this machine."""
import contextlib

from driver import load
from driver.cli import ROOT
from driver.registry import Bound, Case, Column, Measurement
from driver.server import Server
from measurements.cells import link_ports, script
from measurements.shop import PORTS

ONE = "one order at a time"
RATE = "80 orders/s"
# The orders' database is on the first server.
WHERE = {"INVENTORY": 0, "PAYMENT": 0, "SHIPPING": 1, "NOTIFICATION": 1}


@contextlib.contextmanager
def others(bench):
    """Two more servers beside the bench's."""
    servers = [Server(bench.server.bindir, bench.server.run_dir / name)
               for name in ("second", "third")]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def environment(bench, servers):
    return {**bench.server.environment("five"), **PORTS, **link_ports(), "CONSOLED_PORT": "5407",
            **{f"{name}_PGHOST": str(servers[n].run_dir) for name, n in WHERE.items()},
            "DATABASES": "five", "PG_BINDIR": str(bench.server.bindir),
            "ECOMMERCE_RUN": str(bench.server.run_dir / "five")}


def run_one(bench, *options):
    """The shop is open only while it is measured, in databases that are all new: links remember
    which histories they have read, and the others' servers are made anew each time."""
    def run():
        bench.server.sql("postgres", "DROP DATABASE IF EXISTS five WITH (FORCE)")
        with others(bench) as servers:
            env = environment(bench, servers)
            try:
                script("up", env)
                command = ["perl", str(ROOT / "services/tests/load.pl"), "--metrics", "--warm=60",
                           *options]
                metrics = load.client_program(bench.server, command, env)
            finally:
                script("down", env)
        # Two of the servers and all daemons would be foreign to the driver.
        return {**metrics, "foreign": 0.0}
    return run


def cases(bench):
    orders, seconds = ("20", 4) if bench.quick else ("100", 15)
    return [Case(ONE, "ours", run_one(bench, f"--single={orders}", "--rate=0")),
            Case(RATE, "ours", run_one(bench, "--single=0", "--rate=80", f"--seconds={seconds}"))]


Measurement(
    name="five",
    title="orders to Confirmed with five databases on three servers",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    columns=[Column("per_s", "orders/s"), Column("open", "not confirmed"),
             Column("post_p50", "POST p50 ms", "{:.1f}"),
             Column("confirm_p50", "confirmed p50 ms", "{:.1f}"),
             Column("confirm_p99", "p99 ms", "{:.1f}")],
    bounds=[
        Bound("order over five databases, one at a time, p50 in ms", 60, False,
              lambda s: s.median(ONE, "ours", "confirm_p50"), "{:.1f}"),
        Bound("orders over five databases per second, sustained", 75, True,
              lambda s: s.median(RATE, "ours", "per_s"), "{:.0f}"),
    ],
    notes="""
Orders on one server, inventory and payments on the second, the others on the third, a linkd beside
each database; all on this machine. Latencies are counted from when the request was due.""")
