#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Draws the plots of a run with matplotlib, as SVG.

usage: plots.py RUN.json DIRECTORY PREFIX    prints {id: file name} as JSON

A program of its own, because the interpreter of tools/bench need not be Debian's, which has
python3-matplotlib."""

import json
import os
import sys

import matplotlib

matplotlib.use("svg")
# The same run gives the same bytes; text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "libfsys", "svg.fonttype": "none",
                            "font.size": 9, "axes.spines.top": False,
                            "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3})

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import figures  # noqa: E402
import result  # noqa: E402

OURS, THEIRS = "#0b6e99", "#9a9a9a"


def save(figure, directory, name):
    figure.savefig(os.path.join(directory, name), format="svg", bbox_inches="tight",
                   metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return name


def bars(values):
    """Distances from the medians to the quartiles, as matplotlib wants them."""
    return [[max(0, v["median"] - v["q1"]) for v in values],
            [max(0, v["q3"] - v["median"]) for v in values]]


def curve_plot(curve):
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    for key, colour, label in (("ours", OURS, "libfsys"), ("peer", THEIRS, curve["peer"])):
        points = [(p["x"], p[key]) for p in curve["points"] if p.get(key)]
        if points:
            values = [value for _, value in points]
            axes.errorbar([x for x, _ in points], [v["median"] for v in values],
                          yerr=bars(values), color=colour, label=label, marker="o",
                          markersize=3.5, capsize=2, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel(curve["x"])
    axes.set_ylabel(curve["unit"])
    tops = [p[k]["q3"] for p in curve["points"] for k in ("ours", "peer") if p.get(k)]
    lows = [p[k]["q1"] for p in curve["points"] for k in ("ours", "peer") if p.get(k)]
    if max(tops) > 8 * max(min(lows), 1e-9):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.15 * max(tops))
    axes.set_title(curve["title"], fontsize=9)
    axes.legend(frameon=False)
    return figure


QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


def open_loop_plot(one):
    """Latency over the quantile, an axis of nines; one panel per load."""
    loads = sorted({row["load"] for row in one["rows"]})
    if not loads:
        return None
    figure, panels = plt.subplots(1, len(loads), figsize=(8.4, 3.4), sharey=True, squeeze=False)
    names = list(dict.fromkeys(row["name"] for row in one["rows"]))
    peers = [name for name in names if not name.startswith(("fsys", "libfsys"))]
    greys = dict(zip(peers, ("#444444", "#888888", "#b8860b", "#bbbbbb")))
    blues = dict(zip([n for n in names if n not in peers], ("#0b6e99", "#5fb3d4", "#6a4fa3")))
    for load, axes in zip(loads, panels[0]):
        for row in (r for r in one["rows"] if r["load"] == load):
            ours = row["name"] in blues
            axes.plot([1 / (1 - q) for q in QUANTILES],
                      [figures.percentile(row["latency_ns"], q) / 1000 for q in QUANTILES],
                      color=(blues if ours else greys).get(row["name"], THEIRS),
                      linestyle="-" if ours else "--", linewidth=1.3, label=row["name"])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([2, 10, 100, 1000, 10000])
        axes.set_xticklabels(["50 %", "90 %", "99 %", "99.9 %", "99.99 %"], fontsize=7)
        axes.minorticks_off()
        rate = next(r["wanted"] for r in one["rows"] if r["load"] == load)
        axes.set_title(f"{load * 100:.0f} % load: {rate:,.0f} ops/s", fontsize=8)
    panels[0][0].set_ylabel("us from when due")
    panels[0][0].legend(frameon=False, fontsize=7)
    figure.suptitle(one["title"], fontsize=8)
    return figure


def goals_plot(goals):
    """How far each goal is reached: right of 1 is better than asked for."""
    shown = [g for g in goals if result.is_goal(g) and g["measured"] and g["limit"] > 0
             and g["measured"]["median"] > 0]
    if not shown:
        return None

    def margin(goal, value):
        ratio = goal["limit"] / value if goal["bound"] == "at_most" else value / goal["limit"]
        # A difference near zero would stretch the axis over many decades.
        return min(max(ratio, 1 / 30), 30)

    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.28 * len(shown)))
    for at, goal in enumerate(reversed(shown)):
        value = goal["measured"]
        low, middle, high = sorted(margin(goal, max(value[k], 1e-12))
                                   for k in ("q1", "median", "q3"))
        colour = "#2a7d3f" if goal["reached"] else "#b3392f"
        axes.plot([low, high], [at, at], color=colour, linewidth=1.2)
        axes.plot([middle], [at], "o", color=colour, markersize=4)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)))
    axes.set_yticklabels([f"{g['what']} ({g['unit']})" if g["unit"] else g["what"]
                          for g in reversed(shown)], fontsize=7)
    axes.set_xlabel("margin: 1 is the goal, right of it is better; quartiles as lines")
    return figure


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def comparisons_picture(comparisons):
    """Bars of throughput over the first row, with quartiles. Drawn by hand: matplotlib takes ten times
    the bytes for a hundred bars."""
    shown = [c for c in comparisons if not c.get("error") and len(c["variants"]) > 1]
    if not shown:
        return None
    left, width, step = 210, 440, 13
    body, y = [], 8
    for comparison in shown:
        base = comparison["variants"][0]
        values = [figures.spread(figures.ratios(v, base)) for v in comparison["variants"]]
        # A peer that is a hundred times slower or faster must not flatten the rest of its panel.
        full = min(max(v["median"] for v in values), 20) * 1.1

        def at(value, top=full):
            return left + width * min(value / top, 1)

        y += 20
        body.append(f'<text x="4" y="{y}" class="t">{escaped(comparison["id"])}: throughput over '
                    f'{escaped(base["name"])}</text>')
        y += 5
        begin = y
        for variant, value in zip(comparison["variants"], values):
            name = variant["name"]
            ours = name.startswith(("fsys ", "fsys_", "fsys.", "libfsys", "journal"))
            middle = y + step / 2
            body.append(f'<text x="{left - 4}" y="{y + 9}" class="n">{escaped(name)}</text>'
                        f'<rect x="{left}" y="{y + 2}" width="{at(value["median"]) - left:.1f}" '
                        f'height="{step - 4}" class="{"o" if ours else "p"}"/>'
                        f'<path d="M{at(value["q1"]):.1f} {middle}H{at(value["q3"]):.1f}"/>'
                        f'<text x="{left + width + 4}" y="{y + 9}">'
                        f'{figures.number(value["median"])}</text>')
            y += step
        body.append(f'<path d="M{at(1):.1f} {begin}V{y}"/>')
    style = ("text{font:9px sans-serif}.t{font-weight:bold}.n{text-anchor:end}"
             f"path{{stroke:#000;stroke-width:.8}}.o{{fill:{OURS}}}.p{{fill:{THEIRS}}}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 50} {y + 8}" '
            f'width="{left + width + 50}" height="{y + 8}"><style>{style}</style>'
            '<rect width="100%" height="100%" fill="#fff"/>' + "\n".join(body) + "</svg>\n")


def draw(run, directory, prefix):
    made = {}

    def keep(key, figure):
        if figure is not None:
            made[key] = save(figure, directory, f"{prefix}-{key.replace('/', '-')}.svg")

    keep("goals", goals_plot(result.goals_of(run)))
    for name, document in run["parts"].items():
        # The engine's own comparisons are too many for one picture; its goals sum them up.
        if name != "engine":
            picture = comparisons_picture([c for c in document.get("comparisons", [])
                                           if not c["id"].startswith("growth/")])
            if picture:
                made[name] = f"{prefix}-{name}.svg"
                with open(os.path.join(directory, made[name]), "w", encoding="utf-8") as file:
                    file.write(picture)
        for one in document.get("open_loops", []):
            keep(one["id"], open_loop_plot(one))
        for curve in document.get("curves", []):
            if len(curve["points"]) > 1:
                keep(curve["id"], curve_plot(curve))
    return made


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        run = json.load(file)
    print(json.dumps(draw(run, sys.argv[2], sys.argv[3])))


if __name__ == "__main__":
    main()
