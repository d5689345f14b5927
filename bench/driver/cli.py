"""The command bench/run: its options, and the loop over rounds."""
import argparse
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import contenders as contenders_package
import measurements as measurements_package
from driver import compare, load, machine, report
from driver.registry import MEASUREMENTS, Samples
from driver.server import Server

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
BUILD = ROOT / "build" / "bench"
# The part of the machine that others may use before a run is repeated.
DISTURBED = 0.10
RUN_DIR = Path(os.environ.get("BENCH_RUN", "/tmp/ecommerce-bench"))


def find_bindir():
    """The programs of PostgreSQL: PG_BINDIR, else the private copy of this tree."""
    if os.environ.get("PG_BINDIR"):
        return Path(os.environ["PG_BINDIR"])
    copies = sorted((ROOT / "build" / "pg").glob("usr/lib/postgresql/*/bin"))
    if copies:
        return copies[-1]
    raise SystemExit("no private PostgreSQL in build/pg: run `make bench`, or set PG_BINDIR")


class Bench:
    """What a measurement works with."""

    def __init__(self, server, contenders, quick, chosen=None):
        self.server = server
        self.contenders = contenders
        self.chosen = chosen
        self.quick = quick
        self.seconds = 1 if quick else 3
        self.tools = BUILD / "bin"

    def wanted(self, contenders):
        """Those of a measurement's own contenders that are to be measured."""
        return [c for c in contenders if self.chosen is None or c.name in self.chosen]

    def fresh(self, *names):
        """Installs these contenders (all if none) anew and returns them."""
        chosen = [self.contenders[name] for name in names or self.contenders
                  if name in self.contenders]
        for contender in chosen:
            contender.install(self.server)
        return chosen

    def fill(self, contender, prefix, streams, length, database=None):
        """Writes streams 1 to `streams` of `length` events each, in batches."""
        step = max(1, 200000 // length)
        for first in range(1, streams + 1, step):
            self.server.psql(database or contender.database, "-f", contender.script("fill"),
                             "-v", f"prefix={prefix}", "-v", f"first={first}",
                             "-v", f"last={min(first + step - 1, streams)}",
                             "-v", f"length={length}", "-v", f"data={load.PAYLOAD}",
                             "-v", f"metadata={load.METADATA}",
                             options=contender.options + " -c synchronous_commit=off")

    def grow(self, contender, events, database):
        """Makes a database of this contender with so many events, in streams of 10."""
        say(f"growing {database} to {events:,} events")
        contender.install(self.server, database)
        self.fill(contender, "read10", events // 10, 10, database)
        self.server.sql(database, "VACUUM ANALYZE")

    def tool(self, name, database, *args, options="", environment=None):
        """Runs one of our own client programs and returns its metrics."""
        env = {**self.server.environment(database, options), **(environment or {})}
        return load.client_program(self.server, [str(self.tools / name), *map(str, args)], env)

    def background(self, name, database, *args):
        """Starts one of our client programs; it runs until terminated."""
        process = subprocess.Popen([str(self.tools / name), *map(str, args)], text=True,
                                   env=self.server.environment(database), stdout=subprocess.PIPE)
        if process.stdout.readline() != "ready\n":
            raise load.LoadError(f"{name} did not start")
        return process


def stop_background(process):
    """Ends a background client and returns the metrics it printed."""
    process.terminate()
    out, _ = process.communicate(timeout=10)
    if process.returncode != 0:
        raise load.LoadError(f"{process.args[0]} ended with {process.returncode}")
    return {key: float(value) for key, value in (line.split() for line in out.splitlines())}


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures the extension beside its limit and its peers.",
        epilog="measurements: " + "; ".join(f"{m.name} ({m.title})" for m in MEASUREMENTS.values()))
    parser.add_argument("--quick", action="store_true",
                        help="fewer conditions, shorter runs; nothing is saved in results/")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(MEASUREMENTS),
                        help="run this measurement only (may be repeated)")
    parser.add_argument("--where", metavar="TEXT", default="",
                        help="run only the cases whose condition contains TEXT")
    parser.add_argument("--contenders", metavar="A,B", help="measure these only")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement")
    parser.add_argument("--base", metavar="COMMIT",
                        help="measure this tree beside that commit, and nothing else")
    parser.add_argument("--patience", type=int, default=2, metavar="N",
                        help="repeat a run up to N times when other processes took more than "
                             f"{DISTURBED:.0%}% of the machine (default 2)")
    parser.add_argument("--report", action="store_true",
                        help="print the report of what was measured last, and run nothing")
    return parser.parse_args()


def load_measurements():
    for module in pkgutil.iter_modules(measurements_package.__path__):
        importlib.import_module(f"measurements.{module.name}")


def revision():
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def say(text, final=False):
    """Progress: one line that is written over on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}" + ("\n" if final else ""))
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_case(case, patience):
    """Runs a case; one that others disturbed is repeated, the least disturbed run counts."""
    best = None
    for _ in range(patience + 1):
        metrics = case.run()
        if best is None or metrics["foreign"] < best["foreign"]:
            best = metrics
        if best["foreign"] <= DISTURBED:
            break
    return best


def run_rounds(measurement, bench, arguments):
    """Runs all cases of a measurement, round by round."""
    samples = Samples()
    rounds = arguments.rounds or (measurement.quick_rounds if bench.quick else measurement.rounds)
    say(f"{measurement.name}: preparing")
    cases = [case for case in measurement.cases(bench)
             if arguments.where in case.condition]
    for turn in range(1, rounds + 1):
        for number, case in enumerate(cases, 1):
            metrics = run_case(case, arguments.patience)
            samples.add(case, metrics)
            say(f"{measurement.name}: round {turn}/{rounds}, {number}/{len(cases)}: "
                f"{case.condition}: {case.contender}: "
                + "  ".join(f"{k} {v:,.5g}" for k, v in metrics.items()))
    say(f"{measurement.name}: {rounds} rounds of {len(cases)} cases done", final=True)
    return samples


def samples_file(name, quick):
    return BUILD / "samples" / ("quick" if quick else "full") / f"{name}.json"


def save_samples(name, quick, samples, head):
    path = samples_file(name, quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"head": head, "rows": samples.dump()}))


def compose(names, quick):
    """The report over the last samples of these measurements."""
    parts = []
    for name in names:
        path = samples_file(name, quick)
        if path.exists():
            stored = json.loads(path.read_text())
            parts.append((MEASUREMENTS[name], Samples(stored["rows"]), stored["head"]))
    return report.render(parts)


def main():
    load_measurements()
    arguments = parse_arguments()
    names = arguments.only or list(MEASUREMENTS)
    if arguments.report:
        print(compose(names, arguments.quick))
        return 0
    if arguments.base:
        print(compare.compare(names, arguments, sys.modules[__name__]))
        return 0
    contenders = contenders_package.all_contenders(BENCH / "node_modules")
    chosen = arguments.contenders.split(",") if arguments.contenders else None
    if chosen is not None:
        contenders = {name: c for name, c in contenders.items() if name in chosen}
    server = Server(find_bindir(), RUN_DIR)
    try:
        for name in names:
            server.start(MEASUREMENTS[name].settings)
            bench = Bench(server, contenders, arguments.quick, chosen)
            head = machine.describe(server) + [
                ("revision", revision()), ("measured", time.strftime("%Y-%m-%d %H:%M"))]
            samples = run_rounds(MEASUREMENTS[name], bench, arguments)
            save_samples(name, arguments.quick, samples, head)
    finally:
        server.stop()
    print(compose(names, arguments.quick))
    if not arguments.quick and not arguments.where and not arguments.contenders:
        path = BENCH / "results" / f"{time.strftime('%Y-%m-%d')}.txt"
        path.write_text(compose(list(MEASUREMENTS), False) + "\n")
        print(f"\nsaved as {path.relative_to(ROOT)}")
    return 0
