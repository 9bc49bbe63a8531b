# SPDX-License-Identifier: Apache-2.0 OR MIT
"""``python -m fsys bench``: latency and throughput of this machine, as a table and as a plot."""

from __future__ import annotations

import asyncio
import base64
import html
import io
import os
import random
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import Handle
from . import aio
from ._output import Progress, size, table


@dataclass
class Series:
    """One kind of work: how long each op took, and how many there were per second."""

    name: str
    latencies: List[float]  #: seconds, of each op or wave
    rates: List[float]  #: ops per second, of each slice
    block: int  #: bytes per op

    def percentile(self, fraction: float) -> float:
        """Seconds that this part of the ops took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]

    @property
    def rate(self) -> float:
        """Median of the slices."""
        return sorted(self.rates)[len(self.rates) // 2]


def _timed(name: str, block: int, work: Callable[[], int], seconds: float,
           progress: Progress) -> Series:
    """Repeats `work`, which does some ops and says how many, in ten slices."""
    series = Series(name, [], [], block)
    work()
    for _ in range(10):
        start = last = time.perf_counter()
        done = 0
        while last - start < seconds / 10:
            count = work()
            now = time.perf_counter()
            series.latencies.append((now - last) / count)
            last = now
            done += count
        series.rates.append(done / (last - start))
        progress.advance()
    return series


def run(directory: Optional[str], seconds: float, block: int, file_size: int) -> List[Series]:
    """Measures on files in `directory`, which are removed again."""
    results: List[Series] = []
    with tempfile.TemporaryDirectory(dir=directory) as scratch, Handle() as handle, Progress(
        "measuring", 50
    ) as progress:
        path = os.path.join(scratch, "data")
        chance = random.Random(1)
        blocks = file_size // block
        with handle.open(path, "w") as writer:
            noise = os.urandom(1 << 20)
            for place in range(0, file_size, 1 << 20):
                writer.write(noise[: min(1 << 20, file_size - place)], place)
            writer.sync()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with handle.open(path, "r+") as file:
                def offset() -> int:
                    return chance.randrange(blocks) * block

                def pread() -> int:
                    os.pread(descriptor, block, offset())
                    return 1

                def read() -> int:
                    file.read(block, offset())
                    return 1

                many = bytearray(block * 256)

                def read_many() -> int:
                    file.read_many_into(many, [offset() for _ in range(256)])
                    return 256

                data = os.urandom(block)

                def durable() -> int:
                    file.write(data, offset(), durable=True)
                    return 1

                for name, work in [
                    ("os.pread, cached", pread),
                    ("read, cached", read),
                    ("read_many_into 256, cached", read_many),
                    ("durable write", durable),
                ]:
                    results.append(_timed(name, block, work, seconds, progress))
        finally:
            os.close(descriptor)
        with handle.journal(os.path.join(scratch, "journal")) as journal:
            record = os.urandom(256)

            def commit() -> int:
                journal.commit(record)
                return 1

            results.append(_timed("journal commit, 256 B", 256, commit, seconds, progress))
    results.append(asyncio.run(_concurrent(directory, seconds, block)))
    return results


async def _concurrent(directory: Optional[str], seconds: float, block: int) -> Series:
    series = Series("asyncio, 1000 reads at once", [], [], block)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        path = os.path.join(scratch, "data")
        with open(path, "wb") as plain:
            plain.write(os.urandom(1000 * block))
        async with aio.Handle() as handle:
            file = await handle.open(path)
            for _ in range(10):
                start = last = time.perf_counter()
                done = 0
                while last - start < seconds / 10:
                    await asyncio.gather(*(file.read(block, i * block) for i in range(1000)))
                    now = time.perf_counter()
                    series.latencies.append((now - last) / 1000)
                    last = now
                    done += 1000
                series.rates.append(done / (last - start))
    return series


def show(results: Sequence[Series]) -> None:
    """Prints the table."""
    rows = [
        [
            one.name,
            f"{one.rate:,.0f}/s",
            size(int(one.rate * one.block)) + "/s",
            *(f"{one.percentile(p) * 1e6:.1f} us" for p in (0.5, 0.99, 0.999)),
        ]
        for one in results
    ]
    table("per op; a wave counts as the mean of its ops",
          ["work", "ops", "throughput", "p50", "p99", "p99.9"], rows)


def plot(results: Sequence[Series], path: str, title: str) -> None:
    """Writes a latency histogram and a throughput chart: .html, or what matplotlib can write.

    Raises ImportError without matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.5))
    for one in results:
        micros = sorted(latency * 1e6 for latency in one.latencies)
        low, high = max(micros[0], 1e-3), max(micros[-1], micros[0] * 1.01, 2e-3)
        bins = [low * (high / low) ** (i / 60) for i in range(61)]
        left.hist(micros, bins=bins, histtype="step", linewidth=1.5, label=one.name,
                  weights=[1 / len(micros)] * len(micros))
    left.set_xscale("log")
    left.set_xlabel("latency per op, us")
    left.set_ylabel("part of the ops")
    left.set_title("latency")
    left.legend(fontsize="small")
    names = [one.name for one in results]
    right.barh(names, [one.rate for one in results],
               xerr=[[one.rate - min(one.rates) for one in results],
                     [max(one.rates) - one.rate for one in results]])
    right.set_xscale("log")
    right.set_xlabel("ops per second: median of ten slices, least and most")
    right.set_title("throughput")
    right.invert_yaxis()
    figure.suptitle(title)
    figure.tight_layout()
    if path.endswith((".html", ".htm")):
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=120)
        encoded = base64.b64encode(image.getvalue()).decode()
        rows = "".join(
            f"<tr><td>{html.escape(one.name)}</td><td>{one.rate:,.0f}</td>"
            + "".join(f"<td>{one.percentile(p) * 1e6:.1f}</td>" for p in (0.5, 0.99, 0.999))
            + "</tr>"
            for one in results
        )
        with open(path, "w", encoding="utf-8") as out:
            out.write(
                "<!doctype html><meta charset=utf-8><title>fsys bench</title>"
                "<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em 1em;"
                "text-align:right}td:first-child,th:first-child{text-align:left}</style>"
                f"<h1>{html.escape(title)}</h1><img src='data:image/png;base64,{encoded}' "
                "alt='latency histogram and throughput' style='max-width:100%'>"
                "<table><tr><th>work</th><th>ops/s</th><th>p50 us</th><th>p99 us</th>"
                f"<th>p99.9 us</th></tr>{rows}</table>\n"
            )
    else:
        figure.savefig(path, dpi=120)
    pyplot.close(figure)
