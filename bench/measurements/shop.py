"""The whole shop: gateway, daemons, saga and server on this machine."""
import os
import subprocess

from driver import load
from driver.cli import ROOT
from driver.registry import Bound, Case, Column, Measurement

ONE = "one order at a time"
RATE = "{} orders/s"
DAEMONS = ("orderd", "inventoryd", "paymentd", "shippingd", "notificationd", "accessd")
PORTS = {"ECOMMERCE_GATEWAY_PORT": "5400", "ORDERD_PORT": "5401", "INVENTORYD_PORT": "5402",
         "PAYMENTD_PORT": "5403", "SHIPPINGD_PORT": "5404", "NOTIFICATIOND_PORT": "5405",
         "ACCESSD_PORT": "5406"}


def environment(bench):
    return {**bench.server.environment("shop"), **PORTS, "PG_BINDIR": str(bench.server.bindir),
            "ECOMMERCE_RUN": str(bench.server.run_dir / "shop")}


def script(bench, name):
    done = subprocess.run([str(ROOT / "services" / name)], env=environment(bench), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise load.LoadError(f"services/{name}: {done.stderr.strip()}")


def run_one(bench, *options):
    """The shop is open only while it is measured: nothing is left for other measurements."""
    def run():
        script(bench, "up")
        try:
            command = ["perl", str(ROOT / "services/tests/load.pl"), "--metrics", *options]
            metrics = load.client_program(bench.server, command, environment(bench))
        finally:
            script(bench, "down")
        shop = sum(value for name, value in metrics.items() if name.endswith("_cpu_ms")) / 1000
        metrics["daemons_cpu_us"] = shop * 1e6
        metrics["memory"] = max(metrics[f"{daemon}_mb"] for daemon in DAEMONS)
        # the shop is not foreign, but the driver knows only server and clients
        used = shop * metrics["events"] / (metrics["seconds"] * os.cpu_count())
        metrics["foreign"] = max(metrics["foreign"] - used, 0.0)
        return metrics
    return run


def cases(bench):
    orders, seconds = ("20", 4) if bench.quick else ("100", 15)
    made = [Case(ONE, "ours", run_one(bench, f"--single={orders}", "--rate=0"))]
    for rate in (100, 160):
        made.append(Case(RATE.format(rate), "ours", run_one(
            bench, "--single=0", f"--rate={rate}", f"--seconds={seconds}")))
    return made


Measurement(
    name="shop",
    title="orders from POST /orders through the gateway to Confirmed",
    cases=cases,
    rounds=3,
    quick_rounds=1,
    columns=[Column("per_s", "orders/s"), Column("open", "not confirmed"),
             Column("post_p50", "POST p50 ms", "{:.1f}"), Column("post_p99", "p99 ms", "{:.1f}"),
             Column("confirm_p50", "confirmed p50 ms", "{:.1f}"),
             Column("confirm_p99", "p99 ms", "{:.1f}"),
             Column("cpu_us", "server CPU us/order"), Column("daemons_cpu_us", "daemons CPU us"),
             Column("wal_bytes", "log bytes"), Column("syncs", "flushes", "{:.2f}"),
             Column("memory", "MB per daemon", "{:.1f}")],
    bounds=[
        Bound("order to Confirmed, one at a time, p50 in ms", 50, False,
              lambda s: s.median(ONE, "ours", "confirm_p50"), "{:.1f}"),
        Bound("orders to Confirmed per second, sustained", 150, True,
              lambda s: s.median(RATE.format(160), "ours", "per_s"), "{:.0f}"),
        Bound("POST /orders at 100/s, p99 in ms", 50, False,
              lambda s: s.median(RATE.format(100), "ours", "post_p99"), "{:.1f}"),
        Bound("memory of the largest daemon at 160/s, in MB", 32, False,
              lambda s: s.median(RATE.format(160), "ours", "memory"), "{:.1f}"),
    ],
    notes="""
Latencies are counted from when the request was due, so that a slow shop cannot hide behind its
clients. orders/s counts until the last order is confirmed. Daemons include the gateway.""")
