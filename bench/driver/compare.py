"""bench/run --base COMMIT: this tree beside another commit, in the same rounds.

Each of the two has a server of its own, built and started by this program; the one that is
not measured is idle.  Their turns in a round change places from round to round.
"""
import copy
import time

import contenders as contenders_package
from driver import machine, report, trees
from driver.registry import MEASUREMENTS, Case, Samples
from driver.server import Server


def twins(measurement, benches, where):
    """The cases of ours, each with the same one of the base."""
    cases = {who: [case for case in measurement.cases(bench)
                   if case.contender == "ours" and where in case.condition]
             for who, bench in benches.items()}
    return [[ours, Case(base.condition, "base", base.run)]
            for ours, base in zip(cases["ours"], cases["base"])]


def run_rounds(measurement, benches, arguments, run_case, say):
    samples = Samples()
    quick = benches["ours"].quick
    rounds = arguments.rounds or (measurement.quick_rounds if quick else measurement.rounds)
    say(f"{measurement.name}: preparing")
    pairs = twins(measurement, benches, arguments.where)
    for turn in range(1, rounds + 1):
        for number, pair in enumerate(pairs, 1):
            for case in pair if turn % 2 else reversed(pair):
                metrics = run_case(case, arguments.patience)
                samples.add(case, metrics)
                say(f"{measurement.name}: round {turn}/{rounds}, {number}/{len(pairs)}: "
                    f"{case.condition}: {case.contender}: "
                    + "  ".join(f"{k} {v:,.5g}" for k, v in metrics.items()))
    say(f"{measurement.name}: {rounds} rounds of {len(pairs)} pairs done", final=True)
    return samples


def beside_base(measurement):
    """How the report shows it: no bounds, which are against others."""
    shown = copy.copy(measurement)
    shown.baseline, shown.bounds, shown.notes = "base", [], ""
    return shown


def compare(names, arguments, cli):
    """Measures and returns the report."""
    contenders = contenders_package.all_contenders(cli.BENCH / "node_modules")
    servers = {who: Server(trees.bindir(trees.build(commit)), cli.RUN_DIR / who)
               for who, commit in (("ours", None), ("base", arguments.base))}
    parts = []
    try:
        for name in names:
            measurement = MEASUREMENTS[name]
            benches = {}
            for who, server in servers.items():
                server.start(measurement.settings)
                benches[who] = cli.Bench(server, {"ours": contenders["ours"]},
                                         arguments.quick, ["ours"])
            head = machine.describe(servers["ours"]) + [
                ("revision", f"{cli.revision()} beside {arguments.base}"),
                ("measured", time.strftime("%Y-%m-%d %H:%M"))]
            samples = run_rounds(measurement, benches, arguments, cli.run_case, cli.say)
            parts.append((beside_base(measurement), samples, head))
    finally:
        for server in servers.values():
            server.stop()
    return report.render(parts)
