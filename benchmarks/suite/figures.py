# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Numbers from the JSON of the benchmark programs: spreads, paired ratios, percentiles, shapes.

Pure functions of plain values; the statistics are those of benchmarks/common/statistics.cpp, so
that both sides print the same."""

import math
import re


def quantile(values, q):
    """Linear-interpolated quantile; NaN for an empty list."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def spread(values):
    """Median, quartiles and extremes of repeated measurements, as the programs write them."""
    return {"median": quantile(values, 0.5), "q1": quantile(values, 0.25),
            "q3": quantile(values, 0.75), "min": min(values, default=math.nan),
            "max": max(values, default=math.nan), "rounds": len(values)}


def rates(variant):
    return [one["ops_per_second"] for one in variant["rounds"]]


def ratios(variant, base):
    """Throughput of a variant over the base, round by round."""
    return [ours / theirs for ours, theirs in zip(rates(variant), rates(base))]


def percentile(buckets, q):
    """Upper bound, ns, of the bucket [up_to_ns, count] where the quantile lies."""
    total = sum(count for _, count in buckets)
    if total == 0:
        return math.nan
    # The q-quantile is the smallest value that at least q of all are not above.
    wanted = max(1, math.ceil(q * total))
    seen = 0
    for bound, count in buckets:
        seen += count
        if seen >= wanted:
            return bound
    return buckets[-1][0]


def slope(points):
    """Exponent k of the least-squares fit y = a * x^k; 0 for fewer than two distinct x."""
    usable = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len({x for x, _ in usable}) < 2:
        return 0.0
    mean_x = sum(x for x, _ in usable) / len(usable)
    mean_y = sum(y for _, y in usable) / len(usable)
    over = sum((x - mean_x) * (y - mean_y) for x, y in usable)
    under = sum((x - mean_x) ** 2 for x, _ in usable)
    return over / under


def shape(points):
    """One clause on how y goes with x. Within 25 % is called flat: less is noise on most machines.

    @param points  (x, median y), ascending x, at least two"""
    low = min(points, key=lambda point: point[1])
    high = max(points, key=lambda point: point[1])
    width = high[1] / low[1]
    power = slope(points)
    span = f"{size(points[0][0])} to {size(points[-1][0])}"
    ends = f"{number(points[0][1])} to {number(points[-1][1])}"
    if width <= 1.25:
        return f"flat from {span}: between {number(low[1])} and {number(high[1])}"
    if power >= 0.85:
        return f"grows in proportion from {span} (about x^{power:.2f}): {ends}"
    if power >= 0.15:
        return f"grows, but slower than in proportion, from {span} (about x^{power:.2f}): {ends}"
    if power <= -0.15:
        return f"falls from {span} (about x^{power:.2f}): {ends}"
    return (f"not flat, and without a trend from {span}: lowest {number(low[1])} at "
            f"{size(low[0])}, highest {number(high[1])} at {size(high[0])}")


def curve_sentence(curve):
    """What a growth curve shows: its own shape, then that of its ratio to the peer."""
    ours = [(point["x"], point["ours"]["median"]) for point in curve["points"]]
    if len(ours) < 2:
        return "Only one size was measured: no shape."
    text = f"Cost per op: {shape(ours)} {curve['unit']}."
    ratio = [(point["x"], point["ratio"]["median"]) for point in curve["points"]
             if point.get("ratio")]
    if len(ratio) >= 2:
        text += f" Ratio to {curve['peer']}: {shape(ratio)}."
    return text


def number(value):
    """As many digits as a measurement deserves: goals such as 1.05 need three decimals."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.3f}"


def size(value):
    """A size on an axis: 32, 1000, 10^6."""
    if value >= 10_000 and math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9):
        return f"10^{round(math.log10(value))}"
    return f"{value:g}" if value < 1e6 else f"{value:.3g}"


OVERHEAD_LINE = re.compile(
    r"^\s+(?P<name>\S.*?)\s+(?P<median>[\d.]+) \((?P<q1>[\d.]+) \.\. (?P<q3>[\d.]+)\)"
    r"(, (?P<fastest>[\d.]+))?\s+over C\s+(?P<over>[+-][\d.]+)"
    r" \((?P<low>[+-][\d.]+) \.\. (?P<high>[+-][\d.]+)\)(, [+-][\d.]+)?\s*$")


def overhead_table(text):
    """What bindings/rust's benchmark prints, as a table of the result."""
    rows = []
    group = "?"
    for line in text.splitlines():
        found = OVERHEAD_LINE.match(line)
        if found:
            rows.append([group, found["name"], found["median"], f"{found['q1']}..{found['q3']}",
                         found["fastest"] or "-", found["over"],
                         f"{found['low']}..{found['high']}"])
        elif ", cached, ns per op" in line:
            group = line.split(",")[0].strip()
        elif re.match(r"^submit_\S+ .*: \d+ ns per op$", line):
            what, _, cost = line.rpartition(": ")
            rows.append(["async", what, cost.split()[0], "-", "-", "-", "-"])
    return {"title": "The safe interface over the C calls, in the page cache, one thread",
            "columns": ["what", "call", "ns/op", "quartiles", "fastest tenth", "over C, ns",
                        "quartiles"],
            "rows": rows}


VERDICT_LINE = re.compile(
    r"^\s+(?P<over>.+) / (?P<under>.+) = (?P<median>[\d.]+)\s+\[(?P<q1>[\d.]+) \.\. (?P<q3>[\d.]+)\]"
    r".*; goal (?P<sign>[<>]=) (?P<limit>[\d.]+): (?P<word>.*)$")


def python_document(samples, text):
    """What benchmarks/python wrote (seconds per op by round) and printed (its verdicts), in the form
    of the other programs."""
    comparisons = []
    for one in samples["results"]:
        variants = [{"name": name, "threads": 1,
                     "rounds": [{"ops_per_second": 1 / seconds} for seconds in times]}
                    for name, times in one["times"].items()]
        first = rates(variants[0])
        third = max(1, len(first) // 3)
        comparisons.append({"id": "python/" + one["title"].split("(")[0].strip(),
                            "title": one["title"], "error": "", "variants": variants,
                            "drift": quantile(first[-third:], 0.5) / quantile(first[:third], 0.5)
                            - 1})
    goals, title = [], "?"
    for line in text.splitlines():
        found = VERDICT_LINE.match(line)
        if "(goal: " in line:
            title = line.split("   (goal: ")[0].strip()
        elif found:
            value = {key: float(found[key]) for key in ("median", "q1", "q3")}
            limit = float(found["limit"])
            at_most = found["sign"] == "<="
            goals.append({
                "what": f"Python, {title}: {found['over']} over {found['under']}",
                "bound": "at_most" if at_most else "at_least", "limit": limit,
                "unit": "x its time", "how": "time per op, paired rounds", "comparison": title,
                "measured": {**value, "min": value["q1"], "max": value["q3"],
                             "rounds": len(comparisons[0]["variants"][0]["rounds"])},
                "reached": value["median"] <= limit if at_most else value["median"] >= limit,
                "within_noise": value["q1"] <= limit <= value["q3"]})
    peers = samples["facts"].get("peers", {})
    notes = [f"peer {name}: not run: it is not installed" for name, version in peers.items()
             if version is None]
    notes += [f"{name} {version}" for name, version in peers.items() if version is not None]
    return {"comparisons": comparisons, "goals": goals, "notes": notes}
