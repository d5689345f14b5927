"""bench/run --base COMMIT: this tree beside another commit, in the same rounds.

Each of the two has a server of its own, built and started by this program; the one that is
not measured is idle.  Their turns in a round change places from round to round.  In the middle
both servers are made anew in the other order: whose memory is filled first is slower on some
machines, by up to a fifth, with the very same build.
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


def started(servers, measurement, ours, quick, cli):
    """Servers made anew, in this order, as measurements want them."""
    benches = {}
    for who, server in servers.items():
        server.start(measurement.settings)
        benches[who] = cli.Bench(server, ours, quick, ["ours"])
    return benches


def run_rounds(measurement, servers, ours, arguments, cli):
    """An even number of rounds, half of them with each of the two made first."""
    samples = Samples()
    rounds = arguments.rounds or (measurement.quick_rounds if arguments.quick
                                  else measurement.rounds)
    half = (rounds + 1) // 2
    for turn in range(2 * half):
        if turn % half == 0:
            cli.say(f"{measurement.name}: preparing")
            order = servers if turn == 0 else dict(reversed(servers.items()))
            pairs = twins(measurement, started(order, measurement, ours, arguments.quick, cli),
                          arguments.where)
        for number, pair in enumerate(pairs, 1):
            for case in reversed(pair) if turn % 2 else pair:
                metrics = cli.run_case(case, arguments.patience)
                samples.add(case, metrics)
                cli.say(f"{measurement.name}: round {turn + 1}/{2 * half}, {number}/{len(pairs)}: "
                        f"{case.condition}: {case.contender}: "
                        + "  ".join(f"{k} {v:,.5g}" for k, v in metrics.items()))
    cli.say(f"{measurement.name}: {2 * half} rounds of {len(pairs)} pairs done", final=True)
    return samples


def beside_base(measurement):
    """How the report shows it: no bounds, which are against others."""
    shown = copy.copy(measurement)
    shown.baseline, shown.bounds, shown.notes = "base", [], ""
    return shown


def compare(names, arguments, cli):
    """Measures and returns the report."""
    contenders = contenders_package.all_contenders(cli.BENCH / "node_modules")
    ours = {"ours": contenders["ours"]}
    servers = {who: Server(trees.bindir(trees.build(commit)), cli.RUN_DIR / who)
               for who, commit in (("ours", None), ("base", arguments.base))}
    parts = []
    try:
        for name in names:
            measurement = MEASUREMENTS[name]
            samples = run_rounds(measurement, servers, ours, arguments, cli)
            head = machine.describe(servers["ours"]) + [
                ("revision", f"{cli.revision()} beside {arguments.base}"),
                ("measured", time.strftime("%Y-%m-%d %H:%M"))]
            parts.append((beside_base(measurement), samples, head))
    finally:
        for server in servers.values():
            server.stop()
    return report.render(parts)
