"""Runs a load and reads what it cost the server.

The driver for SQL is pgbench with the prepared protocol.  The server's own
counters and its processes' CPU time are read before and after.
"""
import os
import re
import resource
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

# An order with two items, 300 bytes long: what the bounds call a 300-byte payload.
PAYLOAD = ('{"customer_id": "0b7c61c2-6dcd-4d5c-9e0f-3f9d5c6b1f11", "items": [{"sku": "85123A", '
           '"quantity": 6, "unit_price": 2.55, "total_price": 15.30}, {"sku": "71053", '
           '"quantity": 6, "unit_price": 3.39, "total_price": 20.34}], "total_amount": 35.64, '
           '"country": "United Kingdom", "payment": "card 4242"}')
PAYLOAD = PAYLOAD.replace('"card 4242"}', '"card ' + "4" * (300 - len(PAYLOAD) + 4) + '"}')
assert len(PAYLOAD) == 300

# What comes with it: who caused it, on whose behalf, in which trace.  Each request has a
# correlation id of its own: its last twelve digits take this place.
CORRELATION = "C" * 12
METADATA = ('{"correlation_id": "5f0c1e9a-7b1d-4c63-8a52-' + CORRELATION + '", '
            '"causation_id": "9d3f6b42-1c58-4e7a-b0c4-6a2e8f5d7b31", "user_id": "customer-4711", '
            '"tenant_id": "emea", '
            '"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}')


def server_cpu_seconds(postmaster):
    """CPU time of the postmaster, its living children and those it has reaped."""
    def stat(pid):
        text = Path(f"/proc/{pid}/stat").read_text()
        return text[text.rindex(")") + 2:].split()

    own = stat(postmaster)
    total = sum(int(own[i]) for i in (11, 12, 13, 14))
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            fields = stat(child)
        except (FileNotFoundError, ProcessLookupError):
            # It ended after the list was read: its parent's sum will have it
            # next time, and one tick is below what we can resolve.
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def machine_busy_seconds():
    """CPU time that all processes of the machine have used, and what was stolen from it."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def clients_cpu_seconds():
    """CPU time of this program and of the clients that it has waited for."""
    return sum(usage.ru_utime + usage.ru_stime for usage in (
        resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


@dataclass
class Cost:
    """What happened between two readings."""
    cpu: float
    wal: int
    syncs: int
    # The part of the machine that neither the server nor its clients used.
    foreign: float

    def per(self, events):
        return {"cpu_us": self.cpu * 1e6 / events, "wal_bytes": self.wal / events,
                "syncs": self.syncs / events, "foreign": self.foreign}


class Meter:
    """Reads the counters of server and machine when entered and when left."""

    def __init__(self, server):
        self.server = server
        self.cost = None

    def _counters(self):
        row = self.server.sql("postgres",
                              "SELECT pg_current_wal_insert_lsn() - '0/0', wal_sync FROM pg_stat_wal")
        return [int(value) for value in row.split("|")]

    def _times(self):
        return (server_cpu_seconds(self.server.postmaster_pid), clients_cpu_seconds(),
                machine_busy_seconds(), time.monotonic())

    def __enter__(self):
        self.counters = self._counters()
        self.times = self._times()
        return self

    def __exit__(self, *_):
        server, clients, busy, elapsed = (
            after - before for after, before in zip(self._times(), self.times))
        wal, syncs = (after - before for after, before in zip(self._counters(), self.counters))
        foreign = (busy - server - clients) / (elapsed * os.cpu_count())
        self.cost = Cost(server, wal, syncs, max(foreign, 0.0))


class LoadError(Exception):
    """The load generator failed, or some of its transactions did."""


def pgbench(server, contender, script, *, clients, seconds=None, transactions=None,
            synchronous_commit=True, variables=None, events=1, database=None):
    """Runs one script of a contender and returns its metrics.

    events is the number of events (or rows) that one run of the script is worth.
    Every run gets a new value of the variable `run`, so that names do not collide.
    """
    given = {"run": uuid.uuid4().hex[:20], "i": -1, "streams": 100, "data": PAYLOAD, "metadata": METADATA,
             **contender.variables, **(variables or {})}
    command = [str(server.bindir / "pgbench"), "-n", "-M", "prepared", "-c", str(clients),
               "-j", str(min(clients, 2)), "-f", str(script)]
    command += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
    for name, value in given.items():
        command += ["-D", f"{name}={value}"]
    options = contender.options
    options += f" -c synchronous_commit={'on' if synchronous_commit else 'off'}"
    with Meter(server) as meter:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env=server.environment(database or contender.database, options))
    if done.returncode != 0 or "failed transactions: 0 " not in done.stdout:
        # All clients fail with the same words: the first will do.
        said = "\n".join((done.stderr or done.stdout).splitlines()[:6])
        raise LoadError(f"{contender.name} {Path(script).name}: {said}")
    ran = int(re.search(r"transactions actually processed: (\d+)", done.stdout).group(1))
    tps = float(re.search(r"^tps = ([\d.]+) \(without", done.stdout, re.M).group(1))
    latency = float(re.search(r"latency average = ([\d.]+) ms", done.stdout).group(1))
    return {"per_s": tps * events, "ms": latency, "events": ran * events,
            **meter.cost.per(ran * events)}


def client_program(server, command, env):
    """Runs a load generator that prints lines of `metric value`, and adds the cost."""
    with Meter(server) as meter:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadError(f"{Path(command[0]).name}: {done.stderr.strip()}")
    metrics = {key: float(value) for key, value in
               (line.split() for line in done.stdout.splitlines())}
    if "events" in metrics:
        metrics.update(meter.cost.per(metrics["events"]))
    return {**metrics, "foreign": meter.cost.foreign}
