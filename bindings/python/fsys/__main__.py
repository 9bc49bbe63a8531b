# SPDX-License-Identifier: Apache-2.0 OR MIT
"""``python -m fsys``: probe a file, measure this machine, look into a journal."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import List, Optional

import fsys

from . import _bench
from ._output import answer, size, table


def probe(options: argparse.Namespace) -> int:
    """What lies underneath a path, and what this process gets of io_uring."""
    report = fsys.probe(options.path)
    with fsys.Handle() as handle:
        info = handle.info()
    table(
        options.path,
        ["", ""],
        [
            ["backend", info.backend + (f": {info.reason}" if info.reason else "")],
            ["file system", report.file_system],
            ["sync()", report.sync_text],
            ["durable=True", report.datasync_text],
            ["device flush", report.flush_text],
            ["power loss", report.power_text],
            ["volatile cache", answer(report.volatile_cache)],
            ["power-loss protection", answer(report.power_loss_protection)],
            ["O_DIRECT", f"{answer(report.direct)}, buffers {report.direct_mem_align}, "
                         f"offsets {report.direct_offset_align}"],
            ["atomic writes", answer(report.atomic) + (
                f", {size(report.atomic_min)} to {size(report.atomic_max)}"
                if report.atomic else "")],
        ],
    )
    table(
        "devices, from the file system downwards",
        ["name", "kind", "size", "blocks", "volatile cache", "protected", "label"],
        [
            [d.name, d.kind, size(d.bytes), f"{d.logical_block}/{d.physical_block}",
             answer(d.volatile_cache), answer(d.power_loss_protection), d.label]
            for d in report.devices
        ],
    )
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measures, prints, plots."""
    if options.plot:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            print("fsys: --plot needs matplotlib: pip install 'fsys[plot]' or "
                  "apt-get install python3-matplotlib", file=sys.stderr)
            return 2
    results = _bench.run(options.dir, options.seconds, options.block, options.size)
    _bench.show(results)
    if options.plot:
        title = (f"fsys {fsys.__version__}, Python {platform.python_version()}, "
                 f"Linux {platform.release()}, {size(options.block)} blocks")
        _bench.plot(results, options.plot, title)
        print(f"written: {options.plot}")
    return 0


def _line(record: fsys.Record, width: int) -> str:
    if record.kind is fsys.RecordKind.DAMAGE:
        return f"DAMAGE at {record.start}"
    if record.kind is not fsys.RecordKind.RECORD:
        return f"{record.kind.name} at {record.start}, goes on at {record.lsn}"
    shown = record.data[:width]
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in shown)
    more = "..." if len(record.data) > width else ""
    return f"{record.lsn:>16}  {record.epoch:>4}  {len(record.data):>9}  {text}{more}"


def dump(options: argparse.Namespace) -> int:
    """Prints the records of a journal; with follow, those to come too."""
    with fsys.Handle() as handle, handle.reader(
        options.path, options.after, written=options.written
    ) as reader:
        if not options.raw:
            print(f"{'LSN':>16}  {'epoch':>4}  {'bytes':>9}  data", flush=True)
        left = options.count
        damaged = 0
        while left is None or left > 0:
            record = reader.next(0.5 if options.follow else 0)
            if record is None:
                if options.follow:
                    continue
                return damaged
            if options.raw:
                sys.stdout.buffer.write(record.data)
            else:
                print(_line(record, options.width), flush=options.follow)
            if record.kind is fsys.RecordKind.DAMAGE:
                damaged = 1
                print(f"fsys: damage at {record.start}", file=sys.stderr)
                try:
                    reader.skip_damage()
                except fsys.Error:
                    return 1
            left = None if left is None else left - 1
    return damaged


def verify(options: argparse.Namespace) -> int:
    """Comes to the verdict that opening would, reading every record."""
    report = fsys.check_journal(options.path, deep=True)
    table(
        f"{options.path}: {report.verdict}",
        ["", ""],
        [
            ["finding", report.text],
            ["positions", f"{report.first_lsn} to {report.end_lsn}"],
            ["records", report.records],
            ["read", size(report.scanned_bytes)],
            ["epoch", report.epoch],
        ],
    )
    return 0 if report.verdict in ("clean", "fresh", "torn") else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m fsys", description=__doc__)
    top.add_argument("--version", action="version", version=fsys.__version__)
    commands = top.add_subparsers(dest="command", required=True)

    one = commands.add_parser("probe", help="what lies underneath a file")
    one.add_argument("path", nargs="?", default=".")
    one.set_defaults(run=probe)

    one = commands.add_parser("bench", help="latency and throughput of this machine")
    one.add_argument("--dir", help="where to make the files (default: the temporary directory)")
    one.add_argument("--seconds", type=float, default=2.0, help="per kind of work")
    one.add_argument("--block", type=int, default=4096, help="bytes per op")
    one.add_argument("--size", type=int, default=64 << 20, help="bytes of the file")
    one.add_argument("--plot", metavar="FILE", help="write a plot: .html, .png, .svg ...")
    one.set_defaults(run=bench)

    journal = commands.add_parser("journal", help="look into a journal")
    verbs = journal.add_subparsers(dest="verb", required=True)
    for name, text in [("dump", "print the records"), ("follow", "and those to come")]:
        one = verbs.add_parser(name, help=text)
        one.add_argument("path")
        one.add_argument("--after", type=int, default=0, help="only records above this LSN")
        one.add_argument("--count", type=int, help="at most so many")
        one.add_argument("--width", type=int, default=60, help="bytes of data that are shown")
        one.add_argument("--raw", action="store_true", help="the data alone, as it is")
        one.add_argument("--written", action="store_true",
                         help="also what power loss may still take back")
        one.set_defaults(run=dump, follow=name == "follow")
    one = verbs.add_parser("verify", help="the verdict that opening would come to")
    one.add_argument("path")
    one.set_defaults(run=verify)
    return top


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs a command line; 0: well, 1: damage or an error, 2: usage."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"fsys: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
