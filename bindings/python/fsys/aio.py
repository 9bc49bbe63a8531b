# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys for asyncio (and uvloop): the names of the package, awaitable.

>>> async def main():                                   # doctest: +SKIP
...     async with fsys.aio.Handle() as handle:
...         file = await handle.open("data")
...         blocks = await asyncio.gather(*(file.read(4096, i * 4096) for i in range(1000)))

The handle's event descriptor is watched by loop.add_reader(); one wake-up takes all that has been
completed. What is started in one turn of the loop is submitted together.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Tuple, TypeVar, Union

import fsys

from . import _async
from ._async import File, Journal, Reader
from ._types import FileReport, FlushReport, JournalFinding, JournalReport, Pin, ProbeReport, Segment
from ._whole import Replacement, Scan

if TYPE_CHECKING:
    from ._fsys import HasFileno, ReadableBuffer, StrOrBytesPath

__all__ = [
    "File",
    "Handle",
    "Journal",
    "Reader",
    "Replacement",
    "Scan",
    "check_journal",
    "device_flush",
    "explain_journal",
    "list_pins",
    "list_segments",
    "probe",
    "replace",
    "salvage_journal",
    "snapshot_journal",
]

T = TypeVar("T")


class _Runtime(_async.Runtime):
    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    def soon(self, call: Callable[[], None]) -> None:
        self.loop.call_soon(call)

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        self.loop.add_reader(fd, call)

    def unwatch(self, fd: int) -> None:
        if not self.loop.is_closed():
            self.loop.remove_reader(fd)

    async def in_thread(
        self, call: Callable[[], T], undo: Optional[Callable[[T], object]] = None
    ) -> T:
        work = self.loop.run_in_executor(None, call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # What the call opened or closed must have come to its end. As a task: it goes on when this
            # one is cancelled once more.
            await asyncio.wait([self.loop.create_task(self._end(work, undo))])
            raise

    async def _end(
        self, work: asyncio.Future[T], undo: Optional[Callable[[T], object]]
    ) -> None:
        try:
            result = await work
            if undo is not None:
                await self.loop.run_in_executor(None, undo, result)
        except Exception:
            pass  # of a call that nobody waits for any more

    async def beside(self, call: Callable[[], T]) -> T:
        return await self.loop.run_in_executor(None, call)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Handle(_async.Handle):
    """An engine of the running event loop; options as of fsys.Handle.

    Used by the thread of the loop only. To be closed with ``async with`` or ``await close()``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(_Runtime(), **options)


# The functions of the package that block. They run in the loop's default executor (the library has no
# ops for most of them), and need no handle of the loop. Those that change something see a cancellation
# through to the call's end, as a Handle's do.


async def replace(
    path: StrOrBytesPath,
    data: ReadableBuffer,
    *,
    durability: str = "full",
    permissions: int = 0o666,
) -> FileReport:
    """Replaces a file by the default handle; see fsys.replace(). Cancelled, it goes on to its end."""
    return await _Runtime().in_thread(
        lambda: fsys.replace(path, data, durability=durability, permissions=permissions)
    )


async def device_flush(
    path: Union[StrOrBytesPath, int, HasFileno], ways: Optional[Iterable[str]] = None
) -> FlushReport:
    """A sync, then a flush of each disk underneath; see fsys.device_flush()."""
    return await _Runtime().in_thread(lambda: fsys.device_flush(path, ways))


async def probe(path: Union[StrOrBytesPath, int, HasFileno]) -> ProbeReport:
    """What lies underneath a file, directory or block device; see fsys.probe()."""
    return await _Runtime().beside(lambda: fsys.probe(path))


async def check_journal(path: StrOrBytesPath, *, deep: bool = False) -> JournalReport:
    """The verdict that opening the journal would come to; see fsys.check_journal()."""
    return await _Runtime().beside(lambda: fsys.check_journal(path, deep=deep))


async def explain_journal(path: StrOrBytesPath, position: int) -> JournalFinding:
    """What lies at a position of a journal; see fsys.explain_journal()."""
    return await _Runtime().beside(lambda: fsys.explain_journal(path, position))


async def list_segments(path: StrOrBytesPath) -> List[Segment]:
    """The segment files of a journal that is not open here; see fsys.list_segments()."""
    return await _Runtime().beside(lambda: fsys.list_segments(path))


async def list_pins(path: StrOrBytesPath) -> List[Pin]:
    """The pins of a journal that is not open here; see fsys.list_pins()."""
    return await _Runtime().beside(lambda: fsys.list_pins(path))


async def salvage_journal(source: StrOrBytesPath, target: StrOrBytesPath) -> Tuple[int, int]:
    """Copies what can be read of a closed journal; see fsys.salvage_journal(). Cancelled, it goes on
    to its end."""
    return await _Runtime().in_thread(lambda: fsys.salvage_journal(source, target))


async def snapshot_journal(
    source: StrOrBytesPath, target: StrOrBytesPath, lsn: int = 0
) -> None:
    """Copies a journal that is not open here; see fsys.snapshot_journal(). Cancelled, it goes on to
    its end."""
    await _Runtime().in_thread(lambda: fsys.snapshot_journal(source, target, lsn))
