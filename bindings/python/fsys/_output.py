# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Tables and progress of ``python -m fsys``: rich when it is installed, plain text otherwise."""

from __future__ import annotations

import sys
from typing import Any, Iterable, List, Optional, Sequence

try:
    import rich.console
    import rich.progress
    import rich.table

    _console: Optional[Any] = rich.console.Console()
except ImportError:
    _console = None


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; with rich also to a pipe, as text."""
    cells: List[List[str]] = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if _console is not None and sys.stdout.isatty():
        shown = rich.table.Table(title=title, title_justify="left")
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in cells:
            shown.add_row(*row)
        _console.print(shown)
        return
    widths = [
        max(len(column), *(len(row[i]) for row in cells), 0) if cells else len(column)
        for i, column in enumerate(columns)
    ]
    print(title)
    for line in [list(columns), *cells]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


class Progress:
    """A bar on a terminal with rich; otherwise nothing, for pipes want no bars."""

    def __init__(self, title: str, total: int) -> None:
        self._bar: Optional[Any] = None
        if _console is not None and sys.stderr.isatty():
            self._bar = rich.progress.Progress(
                console=rich.console.Console(stderr=True), transient=True
            )
            self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def advance(self, steps: int = 1) -> None:
        """So much more is done."""
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def size(count: int) -> str:
    """Bytes for people: 4 KiB, 1.5 GiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.4g} {unit}"
        value /= 1024
    raise AssertionError


def answer(value: Optional[bool]) -> str:
    """yes, no or unknown."""
    return "unknown" if value is None else "yes" if value else "no"
