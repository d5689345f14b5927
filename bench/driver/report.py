"""Renders samples as text: a table per measurement, then the bounds."""
import statistics


def table(rows, aligns):
    """Lines of a table; rows are lists of strings, the first is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.rjust(width) if align == ">" else cell.ljust(width)
                 for cell, width, align in zip(row, widths, aligns)]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return lines


def in_order(values):
    return list(dict.fromkeys(values))


def measurement_table(measurement, samples):
    heading = ["condition", "contender", *(c.heading for c in measurement.columns),
               f"of {measurement.baseline}", "spread"]
    rows = [heading]
    pairs = in_order((condition, contender) for condition, contender, _ in samples.rows)
    previous = None
    for condition in in_order(condition for condition, _ in pairs):
        for contender in (who for where, who in pairs if where == condition):
            row = [condition if condition != previous else "", contender]
            previous = condition
            for column in measurement.columns:
                key = (condition, contender, column.metric)
                row.append(column.format.format(samples.median(*key))
                           if key in samples.rows else "-")
            primary = measurement.primary
            baseline = measurement.baseline
            row.append(f"{samples.ratio(condition, primary, contender, baseline):.2f}"
                       if (condition, baseline, primary) in samples.rows
                       and (condition, contender, primary) in samples.rows else "-")
            row.append(f"{samples.spread(condition, contender, primary) * 100:.0f} %"
                       if (condition, contender, primary) in samples.rows else "-")
            rows.append(row)
    return table(rows, "<<" + ">" * (len(heading) - 2))


def bound_rows(measurement, samples):
    for bound in measurement.bounds:
        sign = ">=" if bound.at_least else "<="
        promise = f"{sign} {bound.format.format(bound.limit)}"
        try:
            value = bound.value(samples)
        except KeyError:
            yield [bound.text, promise, "-", "not measured"]
            continue
        yield [bound.text, promise, bound.format.format(value),
               "met" if bound.met(value) else "NOT MET"]


def render(parts):
    """The whole report; parts are (measurement, samples, head)."""
    lines = []
    previous = None
    for measurement, samples, head in parts:
        machine = [pair for pair in head if pair[0] not in ("load", "fdatasync", "measured")]
        if machine != previous:
            lines += [f"{what + ':':<12}{value}" for what, value in machine] + [""]
            previous = machine
        facts = dict(map(tuple, head))
        foreign = [value for (_, _, metric), values in samples.rows.items()
                   if metric == "foreign" for value in values]
        rounds = max(map(len, samples.rows.values()), default=0)
        lines += [f"== {measurement.name}: {measurement.title} ==",
                  f"medians of {rounds} rounds, {facts['measured']}, "
                  f"fdatasync {facts['fdatasync'].split(' for')[0]}, load {facts['load']}",
                  *([f"other processes took {statistics.median(foreign):.0%} of the machine "
                     f"(median run; worst {max(foreign):.0%})"] if foreign else []), ""]
        lines += measurement_table(measurement, samples)
        lines += ["", *([measurement.notes.strip(), ""] if measurement.notes else [])]
    bounds = [row for part in parts for row in bound_rows(part[0], part[1])]
    if bounds:
        lines += ["== bounds ==", ""]
        lines += table([["promise", "bound", "measured", ""], *bounds], "<>><")
    return "\n".join(lines)
