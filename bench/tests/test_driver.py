#!/usr/bin/env python3
"""The driver's arithmetic and its report; no server needed. Run it as a program."""
import io
import json
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

BENCH = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))

import contenders  # noqa: E402
import queues  # noqa: E402
from driver import cli, compare, load, report  # noqa: E402
from driver.registry import MEASUREMENTS, Bound, Case, Column, Measurement, Samples  # noqa: E402

HEAD = [["processor", "one"], ["fdatasync", "100 us for 8 KB"], ["load", "0.00"],
        ["measured", "today"]]


def samples(**rounds):
    """Samples of one condition: contender=[per_s of each round]."""
    made = Samples()
    for contender, values in rounds.items():
        for value in values:
            made.add(Case("calm", contender, None), {"per_s": value, "foreign": 0.0})
    return made


def measurement(bounds):
    # A Measurement registers itself; these are of this test alone.
    made = Measurement(name="test", title="a test", cases=None,
                       columns=[Column("per_s", "events/s")], bounds=bounds)
    del MEASUREMENTS["test"]
    return made


class TestSamples(unittest.TestCase):
    def test_ratio_is_of_rounds_and_not_of_medians(self):
        # The machine was slow in the second round, for both.
        s = samples(limit=[100, 10, 100], ours=[90, 9, 50])
        self.assertAlmostEqual(s.ratio("calm", "per_s"), 0.9)

    def test_median_and_spread(self):
        s = samples(ours=[10, 30, 20])
        self.assertEqual(s.median("calm", "ours", "per_s"), 20)
        self.assertAlmostEqual(s.spread("calm", "ours", "per_s"), 0.5)

    def test_they_survive_being_stored(self):
        s = samples(limit=[1, 2], ours=[3, 4])
        self.assertEqual(Samples(s.dump()).rows, s.rows)


class TestBounds(unittest.TestCase):
    def test_both_directions(self):
        for at_least, below, above in ((True, False, True), (False, True, False)):
            bound = Bound("", 0.9, at_least, None)
            self.assertEqual(bound.met(0.89), below)
            self.assertEqual(bound.met(0.91), above)
            self.assertTrue(bound.met(0.9))

    def render(self, **rounds):
        bound = Bound("fast enough", 0.9, True, lambda s: s.ratio("calm", "per_s"))
        return report.render([(measurement([bound]), samples(**rounds), HEAD)])

    def test_report_says_met_not_met_and_not_measured(self):
        self.assertRegex(self.render(limit=[100], ours=[95]), r"fast enough +>= 0.90 +0.95  met\b")
        self.assertRegex(self.render(limit=[100], ours=[85]),
                         r"fast enough +>= 0.90 +0.85  NOT MET")
        self.assertRegex(self.render(limit=[100]), r"fast enough +>= 0.90 +-  not measured")


class TestRunCase(unittest.TestCase):
    def runs(self, patience, *foreign):
        left = list(foreign)
        case = Case("calm", "ours", lambda: {"foreign": left.pop(0)})
        return cli.run_case(case, patience)["foreign"], len(foreign) - len(left)

    def test_disturbed_runs_are_repeated_and_the_calmest_counts(self):
        self.assertEqual(self.runs(2, 0.05, 0.0, 0.0), (0.05, 1))
        self.assertEqual(self.runs(2, 0.5, 0.05, 0.0), (0.05, 2))
        self.assertEqual(self.runs(2, 0.5, 0.3, 0.4, 0.0), (0.3, 3))
        self.assertEqual(self.runs(0, 0.5, 0.0), (0.5, 1))


class TestCompare(unittest.TestCase):
    def test_pairs_change_places_and_are_told_apart(self):
        ran, started = [], []

        def case(who, contender):
            return Case("calm", contender, lambda: ran.append(who) or {"per_s": 90.0})

        measured = measurement([Bound("", 0.9, True, None)])
        measured.cases = lambda bench: [case(bench.who, "ours"), case("another", "loop")]
        servers = {who: SimpleNamespace(who=who, start=lambda _, who=who: started.append(who))
                   for who in ("ours", "base")}
        driver = SimpleNamespace(say=lambda *_, **__: None, run_case=lambda case, _: case.run(),
                                 Bench=lambda server, *_: SimpleNamespace(who=server.who))
        arguments = SimpleNamespace(rounds=2, where="", patience=0, quick=True)
        found = compare.run_rounds(measured, servers, {}, arguments, driver)
        self.assertEqual(started, ["ours", "base", "base", "ours"])
        self.assertEqual(ran, ["ours", "base", "base", "ours"])
        self.assertEqual(found.ratio("calm", "per_s", to="base"), 1.0)
        self.assertRegex(report.render([(compare.beside_base(measured), found, HEAD)]), "of base")
        self.assertTrue(measured.bounds)


class TestQueues(unittest.TestCase):
    def ended(self, said):
        return SimpleNamespace(stdout=io.StringIO(said))

    def test_every_queue_has_what_the_measurements_run(self):
        for queue in queues.all_queues():
            self.assertTrue(queue.script("empty").exists(), queue.name)
            if isinstance(queue, queues.Library):
                # the kinds of load that it hands to main()
                kinds = (queue.directory / "load.mjs").read_text().rsplit("await main(")[1]
                for kind in ("produce", "consume", "schedule", "consume_due", "handoff"):
                    self.assertRegex(kinds, rf"\b{kind}\b", queue.name)
            else:
                for script in ("setup", "produce", "consume"):
                    self.assertTrue(queue.has(script), f"{queue.name}: {script}")

    def test_producers_say_how_much_they_sent(self):
        ours, library = queues.all_queues("ours", "pg_boss")
        self.assertEqual(ours.transactions(self.ended(
            "type: x\nnumber of transactions actually processed: 12\nlatency")), 12)
        self.assertEqual(library.transactions(self.ended("transactions 34\n")), 34)

    def test_a_library_that_disagrees_with_its_tables_is_an_error(self):
        library, = queues.all_queues("graphile_worker")
        library.check(self.ended("consumed 50\n"), 50)
        with self.assertRaises(load.LoadError):
            library.check(self.ended("consumed 49\n"), 50)


class TestCatalogue(unittest.TestCase):
    def test_every_contender_has_every_script(self):
        for contender in contenders.all_contenders(BENCH).values():
            scripts = ["append_new", "append_existing"]
            # the lean limit is only appended to
            if contender.name != "limit_lean":
                scripts += ["read_stream", "read_all", "fill"]
            for script in scripts:
                self.assertTrue(contender.has(script), f"{contender.name}: {script}")

    def test_every_measurement_is_found_and_its_bounds_need_samples(self):
        cli.load_measurements()
        files = {path.stem for path in (BENCH / "measurements").glob("[a-z]*.py")}
        self.assertEqual(set(MEASUREMENTS), files)
        for found in MEASUREMENTS.values():
            for bound in found.bounds:
                with self.assertRaises(KeyError):
                    bound.value(Samples())

    def test_payload(self):
        self.assertEqual(len(load.PAYLOAD), 300)

    def test_every_event_has_a_correlation_id_of_its_own(self):
        self.assertIn(load.CORRELATION, load.METADATA)
        for script in BENCH.glob("contenders/*/append_*.sql"):
            self.assertIn(load.CORRELATION, script.read_text(), str(script))
            self.assertIn("replace(:metadata::text", script.read_text(), str(script))

    def test_an_event_has_what_real_ones_have(self):
        self.assertEqual(set(json.loads(load.METADATA)), {"correlation_id", "causation_id",
                         "user_id", "tenant_id", "traceparent"})


if __name__ == "__main__":
    unittest.main()
