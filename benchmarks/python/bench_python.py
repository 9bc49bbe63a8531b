#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The Python package against os.pread and the asyncio file libraries, in one run.

Comparisons are interleaved: each round runs every variant once, each round from another starting
point. Ratios are formed within a round; printed are medians, with quartiles of the ratio. A peer that
is not installed is said to be missing. See README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from typing import Any, Awaitable, Callable, Dict, List, Optional

import fsys
import fsys.aio

BLOCK = 4096
COUNT = 1000
KEEP = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}

Variant = Callable[[], Any]


class Comparison:
    """Variants of the same work; seconds per op of each round."""

    def __init__(self, title: str, ops: int, goal: str) -> None:
        self.title, self.ops, self.goal = title, ops, goal
        self.times: Dict[str, List[float]] = {}
        self.processor: Dict[str, List[float]] = {}  # of all threads, the kernel's part too

    def add(self, name: str, seconds: float, processor: float) -> None:
        self.times.setdefault(name, []).append(seconds / self.ops)
        self.processor.setdefault(name, []).append(processor / self.ops)

    def ratio(self, over: str, under: str) -> List[float]:
        """Quartiles of over / under, paired by round."""
        pairs = [a / b for a, b in zip(self.times[over], self.times[under])]
        return statistics.quantiles(pairs, n=4)

    def show(self) -> None:
        print(f"\n{self.title}   (goal: {self.goal})")
        for name, times in self.times.items():
            median = statistics.median(times)
            print(f"  {name:44} {median * 1e6:9.2f} us/op {1 / median:12,.0f} op/s   "
                  f"least {min(times) * 1e6:.2f} us/op   "
                  f"processor {statistics.median(self.processor[name]) * 1e6:.2f} us/op")

    def verdict(self, over: str, under: str, goal: float, at_least: bool) -> None:
        low, middle, high = self.ratio(over, under)
        reached = middle >= goal if at_least else middle <= goal
        near = low <= goal <= high
        word = "within noise" if near else "reached" if reached else "NOT reached"
        least = min(self.times[over]) / min(self.times[under])
        print(f"  {over} / {under} = {middle:.2f}  [{low:.2f} .. {high:.2f}], of the least {least:.2f}; "
              f"goal {'>=' if at_least else '<='} {goal}: {word}")


def rounds(comparison: Comparison, variants: Dict[str, Variant], count: int,
           prepare: Callable[[], None] = lambda: None) -> None:
    """`prepare` runs before each variant and is not counted."""
    names = list(variants)
    for number in range(count + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            prepare()
            processor = time.process_time()
            before = time.perf_counter()
            result = variants[name]()
            spent = time.perf_counter() - before
            processor = time.process_time() - processor
            del result
            if number > 0:  # the first is warming up
                comparison.add(name, spent, processor)


async def rounds_async(
    comparison: Comparison, variants: Dict[str, Callable[[], Awaitable[Any]]], count: int
) -> None:
    names = list(variants)
    for number in range(count + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()
            processor = time.process_time()
            before = time.perf_counter()
            result = await variants[name]()
            spent = time.perf_counter() - before
            processor = time.process_time() - processor
            if name != "journal":
                assert all(len(block) == BLOCK for block in result), name
            del result
            if number > 0:
                comparison.add(name, spent, processor)


def blocking(path: str, offsets: List[int], count: int) -> List[Comparison]:
    descriptor = os.open(path, os.O_RDONLY)
    buffer = bytearray(BLOCK)
    whole = bytearray(BLOCK * COUNT)
    pieces = [memoryview(whole)[i * BLOCK:(i + 1) * BLOCK] for i in range(COUNT)]
    with fsys.Handle() as handle, handle.open(path) as file:
        def pread() -> None:
            for offset in offsets:
                os.pread(descriptor, BLOCK, offset)

        def read() -> None:
            for offset in offsets:
                file.read(BLOCK, offset)

        def preadv() -> None:
            for offset in offsets:
                os.preadv(descriptor, [buffer], offset)

        def read_into() -> None:
            for offset in offsets:
                file.read_into(buffer, offset)

        loop = Comparison("cached read loop, 4 KiB", COUNT, "read <= 2.0 x os.pread")
        rounds(loop, {"os.pread": pread, "File.read": read, "os.preadv": preadv,
                      "File.read_into": read_into}, count)
        loop.show()
        loop.verdict("File.read", "os.pread", 2.0, False)
        loop.verdict("File.read_into", "os.preadv", 2.0, False)

        def preadv_loop() -> None:
            for piece, offset in zip(pieces, offsets):
                os.preadv(descriptor, [piece], offset)

        many = Comparison("1,000 blocks of 4 KiB, kept", COUNT, "pread loop >= 1.5 x read_many")
        rounds(many, {
            "[os.pread ...]": lambda: [os.pread(descriptor, BLOCK, o) for o in offsets],
            "read_many": lambda: file.read_many(offsets, BLOCK),
            "os.preadv into one buffer": preadv_loop,
            "read_many_into one buffer": lambda: file.read_many_into(whole, offsets),
        }, count)
        many.show()
        many.verdict("[os.pread ...]", "read_many", 1.5, True)
        many.verdict("os.preadv into one buffer", "read_many_into one buffer", 1.5, True)

        # Random reads that must wait for the disk, without read-ahead on either side.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        file.advise(0, 0, "random")
        os.fsync(descriptor)

        def forget() -> None:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

        cold = Comparison("1,000 blocks of 4 KiB, kept, not in the page cache", COUNT,
                          "pread loop >= 1.5 x read_many")
        rounds(cold, {
            "[os.pread ...]": lambda: [os.pread(descriptor, BLOCK, o) for o in offsets],
            "read_many": lambda: file.read_many(offsets, BLOCK),
        }, count, forget)
        cold.show()
        cold.verdict("[os.pread ...]", "read_many", 1.5, True)
    os.close(descriptor)
    return [loop, many, cold]


async def concurrent(path: str, offsets: List[int], count: int) -> Comparison:
    variants: Dict[str, Callable[[], Awaitable[Any]]] = {}
    descriptor = os.open(path, os.O_RDONLY)
    closing: List[Callable[[], Awaitable[Any]]] = []

    handle = fsys.aio.Handle()
    closing.append(handle.close)
    file = await handle.open(path)
    variants["fsys.aio, gather of read"] = lambda: asyncio.gather(
        *(file.read(BLOCK, offset) for offset in offsets)
    )

    async def task(offset: int) -> bytes:
        return await file.read(BLOCK, offset)

    variants["fsys.aio, 1,000 tasks"] = lambda: asyncio.gather(*(task(o) for o in offsets))
    variants["fsys.aio, read_many"] = lambda: file.read_many(offsets, BLOCK)  # type: ignore[assignment]

    async def nothing(offset: int) -> bytes:
        return bytes(BLOCK)

    # What asyncio itself takes for a thousand tasks: no library can be quicker.
    variants["no IO, 1,000 tasks"] = lambda: asyncio.gather(*(nothing(o) for o in offsets))
    variants["asyncio.to_thread(os.pread)"] = lambda: asyncio.gather(
        *(asyncio.to_thread(os.pread, descriptor, BLOCK, offset) for offset in offsets)
    )
    try:
        import aiofiles

        # A file of aiofiles has one position: each task has one of its own, opened beforehand.
        own = [await aiofiles.open(path, "rb", buffering=0) for _ in offsets]

        async def seek_read(one: Any, offset: int) -> bytes:
            await one.seek(offset)
            return bytes(await one.read(BLOCK))

        variants["aiofiles (seek, read)"] = lambda: asyncio.gather(
            *(seek_read(one, offset) for one, offset in zip(own, offsets))
        )

        async def close_all() -> None:
            for one in own:
                await one.close()

        closing.append(close_all)
    except ImportError:
        print("aiofiles: not installed, not measured")
    try:
        import aiofile

        peer = aiofile.AIOFile(path, "rb")
        await peer.open()
        variants["aiofile (caio)"] = lambda: asyncio.gather(
            *(peer.read_bytes(BLOCK, offset) for offset in offsets)
        )
        closing.append(peer.close)
        import caio

        print("caio uses", caio.variant if hasattr(caio, "variant") else caio.AsyncioContext)
    except ImportError:
        print("aiofile: not installed, not measured")

    comparison = Comparison("1,000 concurrent 4 KiB reads under asyncio", COUNT,
                            "best peer >= 5 x fsys.aio")
    await rounds_async(comparison, variants, count)
    comparison.show()
    peers = [name for name in comparison.times if not name.startswith(("fsys", "no IO"))]
    best = min(peers, key=lambda name: statistics.median(comparison.times[name]))
    for own_name in [name for name in comparison.times if name.startswith("fsys")]:
        comparison.verdict(best, own_name, 5.0, True)
    for close in closing:
        await close()
    os.close(descriptor)
    return comparison


async def commits(directory: str, count: int, each: int) -> Comparison:
    comparison = Comparison(f"journal commits, 256 B, {COUNT} tasks", COUNT * each, "none set")
    record = os.urandom(256)
    async with fsys.aio.Handle() as handle:
        journal = await handle.journal(os.path.join(directory, "journal"))

        async def task() -> None:
            for _ in range(each):
                await journal.commit(record)

        async def all_tasks() -> Any:
            await asyncio.gather(*(task() for _ in range(COUNT)))
            return []

        before = journal.stats().syncs
        await rounds_async(comparison, {"journal": all_tasks}, count)
        syncs = journal.stats().syncs - before
        await journal.close()
    comparison.show()
    print(f"  {COUNT * each * (count + 1) / syncs:.0f} commits per flush")
    return comparison


def version(name: str) -> Optional[str]:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", help="where to make the files (default: the temporary directory)")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--size", type=int, default=64, help="MiB of the file")
    parser.add_argument("--json", metavar="FILE", help="every sample")
    parser.add_argument("--trim", action="store_true",
                        help="let malloc give memory back after each round, as is its default")
    options = parser.parse_args()
    if not options.trim and KEEP.keys() - os.environ.keys():
        # A round frees 4 MB at the top of the heap, which malloc would give back to the kernel: every
        # variant would then measure a thousand page faults, unlike a program that does other things.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP})

    facts = {
        "python": sys.version,
        "kernel": platform.release(),
        "fsys": fsys.__version__,
        "backend": fsys.default_handle().info().backend,
        "peers": {name: version(name) for name in ("aiofiles", "aiofile", "caio")},
        "processors": os.cpu_count(),
        "malloc": "default" if options.trim else KEEP,
        "load before": os.getloadavg(),
    }
    print(json.dumps(facts, indent=1))
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        path = os.path.join(directory, "data")
        with open(path, "wb") as out:
            for _ in range(options.size):
                out.write(os.urandom(1 << 20))
        with open(path, "rb") as warm:
            while warm.read(1 << 20):
                pass
        chance = random.Random(7)
        offsets = [chance.randrange(options.size * 256) * BLOCK for _ in range(COUNT)]
        results = blocking(path, offsets, options.rounds)
        results.append(asyncio.run(concurrent(path, offsets, options.rounds)))
        results.append(asyncio.run(commits(directory, max(3, options.rounds // 5), 20)))
    facts["load after"] = os.getloadavg()
    print("\nload after:", facts["load after"])
    if options.json:
        with open(options.json, "w") as out_json:
            json.dump({"facts": facts,
                       "results": [{"title": r.title, "times": r.times} for r in results]},
                      out_json, indent=1)


if __name__ == "__main__":
    main()
