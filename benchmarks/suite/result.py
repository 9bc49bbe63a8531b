# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The result file: one Markdown document of everything that one run measured.

The run is a plain dictionary, {"head": {name: text}, "parts": {name: document or {"missing":
reason}}, "commands": [text], "plots": {id: file name}}; each document is what a benchmark program
wrote with --json. Nothing here looks at the machine."""

import figures

PARTS = {
    "engine": "The engine",
    "peers": "Other libraries",
    "journal": "The journal",
    "python": "The Python binding",
    "rust": "The Rust binding",
    "growth": "Growth",
}


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(columns, rows):
    return [row(columns), "|" + "---|" * len(columns), *(row(cells) for cells in rows), ""]


def goals_of(run):
    """Each goal once, measured ones first to win; in the order of the programs."""
    found = {}
    for name, document in run["parts"].items():
        for goal in document.get("goals", []):
            key = (goal["what"], goal["unit"], goal["limit"])
            if key not in found or (found[key]["measured"] is None
                                    and goal["measured"] is not None):
                found[key] = {**goal, "part": name}
    return list(found.values())


def is_goal(goal):
    """Rows for comparison only are printed with the goals and not counted as such."""
    return "not a row of its own" not in goal["what"]


def goal_rows(goals):
    rows = []
    for goal in goals:
        sign = "<=" if goal["bound"] == "at_most" else ">="
        value = goal["measured"]
        measured, reached = "-", "not run"
        if value is not None:
            measured = figures.number(value["median"])
            if value["rounds"] > 1:
                measured += f" [{figures.number(value['q1'])}..{figures.number(value['q3'])}]"
            reached = "yes" if goal["reached"] else "**no**"
            if goal.get("within_noise"):
                reached += " (within noise)"
        rows.append([goal["what"], f"{sign} {goal['limit']:g} {goal['unit']}".strip(), measured,
                     reached, goal["how"]])
    return rows


def goals_section(goals):
    counted = [goal for goal in goals if is_goal(goal) and goal["measured"] is not None]
    reached = sum(1 for goal in counted if goal["reached"])
    unmeasured = sum(1 for goal in goals if is_goal(goal) and goal["measured"] is None)
    lines = ["## Goals", "",
             f"{reached} of {len(counted)} measured goals are reached"
             + (f"; {unmeasured} were not run." if unmeasured else "."),
             "Medians of paired rounds, quartiles in brackets.", ""]
    return lines + table(["what", "goal", "measured", "reached", "how"], goal_rows(goals))


def comparison_section(comparison):
    lines = [f"### {comparison['id']}", "", comparison["title"], ""]
    if comparison.get("error"):
        return lines + [f"**Failed:** {comparison['error']}", ""]
    variants = comparison["variants"]
    base = variants[0]
    # A program that measures by itself may not tell its processor time: 0.
    with_cpu = any(one.get("cpu_ns_per_op") for v in variants for one in v["rounds"])
    columns = ["what", "ops/s", "ns/op", f"x {base['name']}", "quartiles", "min..max"]
    rows = []
    for variant in variants:
        rate = figures.spread(figures.rates(variant))["median"]
        ratio = figures.spread(figures.ratios(variant, base))
        cells = [variant["name"], figures.number(rate), figures.number(1e9 / rate),
                 figures.number(ratio["median"]),
                 f"{figures.number(ratio['q1'])}..{figures.number(ratio['q3'])}",
                 f"{figures.number(ratio['min'])}..{figures.number(ratio['max'])}"]
        if with_cpu:
            cells.append(figures.number(figures.quantile(
                [one["cpu_ns_per_op"] for one in variant["rounds"]
                 if one.get("cpu_ns_per_op")], 0.5)))
        rows.append(cells)
    lines += table(columns + (["cpu ns/op"] if with_cpu else []), rows)
    lines += [f"{len(base['rounds'])} rounds; {base['name']} drifted "
              f"{comparison['drift'] * 100:+.1f} % from the first to the last third.", ""]
    return lines + latency_table(variants)


def latency_table(variants):
    rows = []
    for variant in variants:
        buckets = variant.get("latency_ns")
        if buckets:
            rows.append([variant["name"]] + [
                figures.number(figures.percentile(buckets, q) / 1000)
                for q in (0.5, 0.9, 0.99, 0.999)] + [f"{sum(count for _, count in buckets)}"])
    return table(["latency, us", "p50", "p90", "p99", "p99.9", "ops"], rows) if rows else []


def open_loop_section(one, plot):
    lines = [f"### {one['id']}", "", one["title"], ""]
    if one.get("error"):
        return lines + [f"**Failed:** {one['error']}", ""]
    lines += ["Latency from the moment an op was due (no coordinated omission); the load is a part of "
              "the lowest closed-loop rate of all rows. A row whose `done/s` is below `due/s` did not "
              "keep up.", ""]
    if plot:
        lines += [f"![{one['title']}]({plot})", ""]
    rows = []
    for r in one["rows"]:
        rows.append([r["name"], f"{r['load'] * 100:.0f} %", figures.number(r["wanted"]),
                     figures.number(r["achieved"]["median"])]
                    + [figures.number(figures.percentile(r["latency_ns"], q) / 1000)
                       for q in (0.5, 0.99, 0.999)]
                    + [figures.number(r["max_ns"] / 1000),
                       f"{figures.number(r['p99_us']['q1'])}..{figures.number(r['p99_us']['q3'])}",
                       figures.number(r["closed"])])
    return lines + table(["latency, us", "load", "due/s", "done/s", "p50", "p99", "p99.9", "max",
                          "p99 by round", "closed loop, ops/s"], rows)


def curve_section(curve, plot):
    lines = [f"### {curve['id']}", "", curve["title"], "", figures.curve_sentence(curve), ""]
    if plot:
        lines += [f"![{curve['title']}]({plot})", ""]
    rows = []
    for point in curve["points"]:
        cells = [figures.size(point["x"])]
        for key in ("ours", "peer", "ratio"):
            value = point.get(key)
            cells += [figures.number(value["median"]),
                      f"{figures.number(value['q1'])}..{figures.number(value['q3'])}"] \
                if value else ["-", "-"]
        rows.append(cells)
    return lines + table([curve["x"], f"libfsys, {curve['unit']}", "quartiles",
                          f"{curve['peer'] or 'peer'}, {curve['unit']}", "quartiles", "ratio",
                          "quartiles"], rows)


def part_section(name, document, plots):
    lines = [f"## {PARTS.get(name, name)}", ""]
    if "missing" in document:
        return lines + [f"**Not run:** {document['missing']}", ""]
    lines += [f"- {note}" for note in document.get("notes", [])]
    if document.get("notes"):
        lines.append("")
    if name in plots:
        lines += [f"![{PARTS.get(name, name)}]({plots[name]})", ""]
    if document.get("comparisons"):
        lines += ["Ratios are throughput against the first row, paired by round; more is better.",
                  ""]
    for curve in document.get("curves", []):
        lines += curve_section(curve, plots.get(curve["id"]))
    for one in document.get("tables", []):
        lines += [f"### {one['title']}", ""] + table(one["columns"], one["rows"])
    for one in document.get("open_loops", []):
        lines += open_loop_section(one, plots.get(one["id"]))
    for comparison in document.get("comparisons", []):
        lines += comparison_section(comparison)
    return lines


def missing_section(run):
    rows = [[PARTS.get(name, name), document["missing"]]
            for name, document in run["parts"].items() if "missing" in document]
    for name, document in run["parts"].items():
        rows += [[PARTS.get(name, name), note] for note in document.get("notes", [])
                 if ": not run: " in note]
        rows += [[PARTS.get(name, name), f"{one['id']}: {one['error']}"]
                 for key in ("comparisons", "open_loops") for one in document.get(key, [])
                 if one.get("error")]
    return ["## Not run, or failed", ""] + table(["part", "what, and why"], rows) if rows else []


def markdown(run):
    """The whole document as text."""
    head = run["head"]
    lines = [f"# Benchmarks: {head['title']}", ""]
    if head.get("quick"):
        lines += [f"**A quick look: {head['quick']}. Not to be quoted.**", ""]
    lines += [f"- {name}: {text}" for name, text in head.items() if name not in ("title", "quick")]
    lines += ["", "The method is described in [benchmarks/README.md](../README.md).", ""]
    lines += goals_section(goals_of(run))
    if "goals" in run["plots"]:
        lines += [f"![goals]({run['plots']['goals']})", ""]
    lines += missing_section(run)
    for name in PARTS:
        if name in run["parts"]:
            lines += part_section(name, run["parts"][name], run["plots"])
    lines += ["## Commands", "", "```", *run["commands"], "```", ""]
    return "\n".join(lines)


def file_name(kernel, cpu):
    """KERNEL-CPU, of letters, digits, dots and dashes."""
    words = f"{kernel}-{cpu}".lower()
    for noise in ("(r)", "(tm)", " processor", " cpu", "@"):
        words = words.replace(noise, " ")
    kept = "".join(c if c.isalnum() or c in ".-" else "-" for c in words)
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept.strip("-.")
