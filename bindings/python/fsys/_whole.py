# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Whole files and names of an asynchronous handle.

The calls block, in the threads of Runtime.in_thread; for most of them the library has no ops. What it
has of them (fsys_submit_replace() and its kin) is not used, so that all are the same under cancellation:
a task that is cancelled waits until the call has ended, then gets its CancelledError. The call is not cut
short and what it did is not undone: a file is replaced, or old and whole when the call failed.
"""

from __future__ import annotations

from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    Iterable,
    List,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

from . import _fsys
from ._closing import Closing
from ._types import BatchResult, FileReport, ScanEntry

if TYPE_CHECKING:
    from ._async import File, Runtime
    from ._fsys import ReadableBuffer, StrOrBytesPath

T = TypeVar("T")


class Replacement:
    """A file being replaced piece by piece: Handle.begin_replace().

    ``async with`` commits it at the end, or aborts it after an exception: also when the task is cancelled
    inside the block. Cancelled during commit() itself, it is committed all the same.
    """

    def __init__(self, runtime: Runtime, replacement: _fsys.Replacement) -> None:
        self._runtime = runtime
        self._replacement = replacement

    async def write(self, data: ReadableBuffer) -> None:
        """Adds `data` at the end."""
        await self._runtime.in_thread(lambda: self._replacement.write(data))

    async def commit(self) -> FileReport:
        """Puts the new file in the old one's place and ends the replacement, also on failure."""
        return await self._runtime.in_thread(self._replacement.commit)

    async def abort(self) -> None:
        """Gives it up: the old file is as it was."""
        await self._runtime.in_thread(self._replacement.abort)

    @property
    def path(self) -> Any:
        """What it was begun with."""
        return self._replacement.path

    @property
    def closed(self) -> bool:
        """Whether it was committed or aborted, or its handle closed."""
        return self._replacement.closed

    async def __aenter__(self) -> Replacement:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is not None:
            await self.abort()
        elif not self.closed:
            await self.commit()


class Scan(Closing):
    """Iterates over the names in a directory: Handle.scan(). Names are fetched in runs by a thread."""

    _RUN = 256

    def __init__(self, runtime: Runtime, scan: _fsys.Scan) -> None:
        self._runtime = runtime
        self._scan = scan

    def _run(self) -> List[ScanEntry]:
        return [entry for _, entry in zip(range(self._RUN), self._scan)]

    async def close(self) -> None:
        """Ends the scan."""
        await self._runtime.in_thread(self._scan.close)

    @property
    def closed(self) -> bool:
        """Whether it has ended, or its handle is closed."""
        return self._scan.closed

    async def __aiter__(self) -> AsyncIterator[ScanEntry]:
        while True:
            entries = await self._runtime.in_thread(self._run)
            for entry in entries:
                yield entry
            if not entries:
                return


class WholeFiles:
    """The part of an asynchronous Handle that works on whole files and names. Options are those of the
    method of the same name of fsys.Handle; their `dir` is a File of this handle."""

    _runtime: Runtime
    _handle: _fsys.Handle

    async def _call(
        self,
        call: Callable[..., T],
        *arguments: Any,
        dir: Optional[File] = None,
        _undo: Optional[Callable[[T], object]] = None,
        **options: Any,
    ) -> T:
        plain = None if dir is None else dir._file
        return await self._runtime.in_thread(
            lambda: call(*arguments, dir=plain, **options), _undo
        )

    async def replace(self, path: StrOrBytesPath, data: ReadableBuffer, **options: Any) -> FileReport:
        """Replaces a file whole and durably; see fsys.Handle.replace(). Cancelled, it waits for its end:
        the file is new unless the call failed."""
        return await self._call(self._handle.replace, path, data, **options)

    async def begin_replace(self, path: StrOrBytesPath, **options: Any) -> Replacement:
        """Begins to replace a file piece by piece; see fsys.Handle.begin_replace(). Cancelled, it leaves
        nothing behind."""
        begun = await self._call(
            self._handle.begin_replace, path, _undo=_fsys.Replacement.abort, **options
        )
        return Replacement(self._runtime, begun)

    async def replace_many(
        self, items: Iterable[Tuple[StrOrBytesPath, Optional[ReadableBuffer]]], **options: Any
    ) -> List[BatchResult]:
        """Replaces and removes many files with one wait; see fsys.Handle.replace_many(). Cancelled, it
        waits for its end: all items are done but those that failed."""
        return await self._call(self._handle.replace_many, items, **options)

    async def copy(
        self, source: StrOrBytesPath, target: StrOrBytesPath, **options: Any
    ) -> FileReport:
        """Copies a file; see fsys.Handle.copy()."""
        return await self._call(self._handle.copy, source, target, **options)

    async def append(self, path: StrOrBytesPath, data: ReadableBuffer, **options: Any) -> int:
        """Appends to a file; see fsys.Handle.append()."""
        return await self._call(self._handle.append, path, data, **options)

    async def read_file(self, path: StrOrBytesPath, **options: Any) -> bytes:
        """Reads a whole file; see fsys.Handle.read_file()."""
        return await self._call(self._handle.read_file, path, **options)

    async def rename(
        self, source: StrOrBytesPath, target: StrOrBytesPath, **options: Any
    ) -> None:
        """Renames durably; see fsys.Handle.rename()."""
        await self._call(self._handle.rename, source, target, **options)

    async def link(self, source: StrOrBytesPath, target: StrOrBytesPath, **options: Any) -> None:
        """Gives a file a second name durably; see fsys.Handle.link()."""
        await self._call(self._handle.link, source, target, **options)

    async def unlink(self, path: StrOrBytesPath, **options: Any) -> None:
        """Removes a name durably; see fsys.Handle.unlink()."""
        await self._call(self._handle.unlink, path, **options)

    async def mkdir(self, path: StrOrBytesPath, **options: Any) -> None:
        """Makes a directory durably; see fsys.Handle.mkdir()."""
        await self._call(self._handle.mkdir, path, **options)

    async def rmdir(self, path: StrOrBytesPath, **options: Any) -> None:
        """Removes an empty directory durably; see fsys.Handle.rmdir()."""
        await self._call(self._handle.rmdir, path, **options)

    async def sync_path(self, path: StrOrBytesPath, **options: Any) -> None:
        """Makes durable what others wrote; see fsys.Handle.sync_path()."""
        await self._call(self._handle.sync_path, path, **options)

    async def sweep(self, path: StrOrBytesPath, **options: Any) -> int:
        """Removes what killed processes left behind; see fsys.Handle.sweep()."""
        return await self._call(self._handle.sweep, path, **options)

    async def scan(self, path: StrOrBytesPath, **options: Any) -> Scan:
        """Lists a directory or a tree; see fsys.Handle.scan()."""
        scan = await self._call(self._handle.scan, path, _undo=_fsys.Scan.close, **options)
        return Scan(self._runtime, scan)
