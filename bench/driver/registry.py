"""What a measurement is, and the list of all of them.

A measurement is a file in measurements/.  It makes one Measurement, which
registers itself.  Each of its cases is one contender under one condition; the
driver runs all cases once per round, so that what the machine does meanwhile
falls on everybody alike, and reports medians over the rounds.
"""
import statistics
from dataclasses import dataclass, field
from typing import Callable

MEASUREMENTS = {}


@dataclass
class Case:
    """One contender under one condition; run() returns {metric: number}."""
    condition: str
    contender: str
    run: Callable[[], dict]


@dataclass
class Column:
    """A column of the report: a metric, its heading and how to print it."""
    metric: str
    heading: str
    format: str = "{:,.0f}"


@dataclass
class Bound:
    """A promise of the specification.

    value(samples) computes what was measured; it may raise KeyError when a
    contender did not run, and the bound is then reported as not measured.
    """
    text: str
    limit: float
    at_least: bool
    value: Callable
    format: str = "{:.2f}"

    def met(self, value):
        return value >= self.limit if self.at_least else value <= self.limit


class Samples:
    """All numbers of one measurement: (condition, contender, metric) -> rounds."""

    def __init__(self, rows=None):
        self.rows = {}
        for condition, contender, metric, values in rows or []:
            self.rows[condition, contender, metric] = values

    def add(self, case, metrics):
        for metric, value in metrics.items():
            self.rows.setdefault((case.condition, case.contender, metric), []).append(value)

    def median(self, condition, contender, metric):
        return statistics.median(self.rows[condition, contender, metric])

    def spread(self, condition, contender, metric):
        """Greatest distance of a round from the median, as a part of the median."""
        values = self.rows[condition, contender, metric]
        middle = statistics.median(values)
        return max(abs(v - middle) for v in values) / middle if middle else 0.0

    def ratio(self, condition, metric, contender="ours", to="limit", to_condition=None):
        """The median over the rounds of one contender's value by another's.

        Both values of a pair are of the same round, a few seconds apart, so a slow
        spell of the machine does not reach the ratio.
        """
        upper = self.rows[condition, contender, metric]
        lower = self.rows[to_condition or condition, to, metric]
        return statistics.median(u / l for u, l in zip(upper, lower))

    def dump(self):
        return [[*key, values] for key, values in self.rows.items()]


@dataclass
class Measurement:
    name: str
    title: str
    # cases(bench) prepares what is needed and returns the cases of one round.
    cases: Callable
    columns: list
    # The metric whose ratio to the baseline is shown.
    primary: str = "per_s"
    baseline: str = "limit"
    bounds: list = field(default_factory=list)
    notes: str = ""
    rounds: int = 5
    quick_rounds: int = 3
    # Server settings of this measurement, beside driver/server.py's.
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        assert self.name not in MEASUREMENTS, self.name
        MEASUREMENTS[self.name] = self
