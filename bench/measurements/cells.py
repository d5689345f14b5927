"""Orders in one and in three databases: what an order costs, on one machine."""
import os
import subprocess

from driver import load
from driver.cli import ROOT
from driver.registry import Bound, Case, Column, Measurement
from measurements.shop import PORTS

CONDITIONS = {1: "one database of orders", 3: "three"}
LINKED = ("order", "inventory", "payment", "shipping", "notification")


def link_ports():
    return {f"LINKD_{name.upper()}_PORT": str(5411 + number)
            for number, name in enumerate(LINKED)}


def environment(bench, cells):
    ports = {**PORTS, "CONSOLED_PORT": "5407", **link_ports()}
    for number in range(1, cells + 1):
        ports[f"CELL{number}_PORT"] = str(5420 + number)
        ports[f"LINKD_CELL{number}_PORT"] = str(5430 + number)
    return {**bench.server.environment(f"cells{cells}"), **ports, "CELLS": str(cells),
            "PG_BINDIR": str(bench.server.bindir),
            "ECOMMERCE_RUN": str(bench.server.run_dir / f"cells{cells}")}


def script(name, env):
    done = subprocess.run([str(ROOT / "services" / name)], env=env, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise load.LoadError(f"services/{name}: {done.stderr.strip()}")


def run_one(bench, cells, *options):
    """The shop is open only while it is measured."""
    def run():
        env = environment(bench, cells)
        script("up", env)
        try:
            command = ["perl", str(ROOT / "services/tests/load.pl"), "--metrics", "--single=0",
                       "--warm=60", f"--cells={cells}", *options]
            metrics = load.client_program(bench.server, command, env)
        finally:
            script("down", env)
        shop = sum(value for name, value in metrics.items() if name.endswith("_cpu_ms")) / 1000
        metrics["daemons_cpu_us"] = shop * 1e6
        metrics["all_cpu_us"] = metrics["server_us"] + metrics["daemons_cpu_us"]
        used = shop * metrics["events"] / (metrics["seconds"] * os.cpu_count())
        metrics["foreign"] = max(metrics["foreign"] - used, 0.0)
        return metrics
    return run


def cases(bench):
    rate, seconds = (20, 10) if bench.quick else (40, 20)
    return [Case(condition, "ours", run_one(bench, cells, f"--rate={rate}", f"--seconds={seconds}"))
            for cells, condition in CONDITIONS.items()]


def ratio(samples):
    """CPU per order with three cells, beside one."""
    one, three = (samples.median(name, "ours", "all_cpu_us") for name in CONDITIONS.values())
    return three / one


Measurement(
    name="cells",
    title="orders in one and in three databases, services in four others",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    columns=[Column("per_s", "orders/s"), Column("open", "not confirmed"),
             Column("post_p50", "POST p50 ms", "{:.1f}"),
             Column("confirm_p50", "confirmed p50 ms", "{:.1f}"),
             Column("server_us", "server CPU us/order"), Column("daemons_cpu_us", "daemons CPU us"),
             Column("all_cpu_us", "all CPU us")],
    bounds=[Bound("CPU per order with three cells, beside one", 1.2, False, ratio, "{:.2f}")],
    notes="""
All on one server and machine: cells are for several, whose CPU adds up; so what counts is what an
order costs, counted after 60 orders that are not: the goods have then come to all cells, and sessions
know what they need. Daemons include the gateway and linkd.""")
