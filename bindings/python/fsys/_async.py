# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What fsys.aio and fsys.trio share: the names of the synchronous classes, awaitable.

Everything here runs in the thread of the event loop, but for the calls that Runtime.in_thread makes.
"""

from __future__ import annotations

import collections
import os
import threading
import time
import warnings
import weakref
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Deque,
    Generic,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from . import _fsys
from ._closing import Closing
from ._errors import E_CORRUPT, ClosedError, CorruptError, make
from ._types import (
    Counters,
    FileInfo,
    FlushReport,
    Frontiers,
    HandleInfo,
    JournalReport,
    JournalStats,
    Pin,
    ProbeReport,
    Record,
    RecordKind,
    Segment,
)
from ._whole import WholeFiles

if TYPE_CHECKING:
    from ._fsys import ReadableBuffer, StrOrBytesPath, WriteableBuffer

T = TypeVar("T")


class Runtime:
    """What an event loop must be able to do. One per handle."""

    #: The loop of asyncio, where results are Futures of the extension.
    loop: Any = None
    #: Elsewhere: makes an awaitable with set_result() and set_exception(), which refuse after a
    #: cancellation, and that then calls `cancelled`.
    create_future: Optional[Callable[[], Any]] = None
    #: Called in the loop's thread with a future that was cancelled while its op had not ended.
    cancelled: Callable[[Any], None]

    def soon(self, call: Callable[[], None]) -> None:
        """Calls in the loop's next turn."""
        raise NotImplementedError

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Calls whenever the descriptor is readable."""
        raise NotImplementedError

    def unwatch(self, fd: int) -> None:
        """Ends watch()."""
        raise NotImplementedError

    async def in_thread(
        self, call: Callable[[], T], undo: Optional[Callable[[T], object]] = None
    ) -> T:
        """Runs a blocking call in a thread; when cancelled, goes on waiting for its end. A result that
        the cancellation has left without an owner is given to `undo`, in a thread as well."""
        raise NotImplementedError

    async def beside(self, call: Callable[[], T]) -> T:
        """Runs a call of a fraction of a second in a thread; when cancelled, leaves it alone."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        raise NotImplementedError


class File(_fsys.AsyncFile, Closing):
    """An open file of an asynchronous handle: Handle.open().

    read(), write() and their kin start at once or with the loop's next turn, and return a future, not
    a coroutine: gather() and wait() take it as it is, without a task around it. Cancelling it cancels
    the op, as far as that can be done: what has not started does not start, a read of a pipe that waits
    ends; what the device or a thread executes goes on, so a cancelled write may have been done. Its
    buffer stays exported until the kernel has let go. asyncio.shield() lets the op go on.
    """

    def __init__(self, handle: "Handle", file: _fsys.File) -> None:
        super().__init__(handle._channel, file)
        self._handle = handle
        self._channel = handle._channel
        self._file: _fsys.File = file

    def sync(self, *, data_only: bool = False) -> Awaitable[None]:
        """Makes the writes that are done durable."""
        return self._channel.sync(self, self._file, data_only)

    def allocate(self, offset: int, length: int, *, keep_size: bool = False) -> Awaitable[None]:
        """Reserves room on disk."""
        return self._channel.allocate(self, self._file, offset, length, keep_size)

    def read_many(self, offsets: Iterable[int], length: int) -> Awaitable[List[bytes]]:
        """Reads a block of `length` bytes at each of `offsets`; one future for all of them."""
        return self._channel.read_many(self, self._file, offsets, length)

    def read_many_into(
        self, buffers: Iterable[WriteableBuffer], offsets: Iterable[int]
    ) -> Awaitable[List[int]]:
        """Fills each of `buffers` from the offset of the same index; gives the counts."""
        return self._channel.read_many_into(self, self._file, buffers, offsets)

    def write_many(
        self, buffers: Iterable[ReadableBuffer], offsets: Iterable[int], *, durable: bool = False
    ) -> Awaitable[List[int]]:
        """Writes each of `buffers` at the offset of the same index; gives the counts."""
        return self._channel.write_many(self, self._file, buffers, offsets, durable)

    async def truncate(self, length: int, *, durability: str = "full") -> None:
        """Cuts or extends the file."""
        await self._blocking(lambda: self._file.truncate(length, durability=durability))

    async def preallocate(
        self, offset: int, length: int, *, keep_size: bool = False, durability: str = "full"
    ) -> None:
        """Allocates a range as allocate() does, durably."""
        await self._blocking(
            lambda: self._file.preallocate(
                offset, length, keep_size=keep_size, durability=durability
            )
        )

    async def punch_hole(self, offset: int, length: int, *, durability: str = "full") -> None:
        """Gives blocks back to the file system; the range then reads as zeros."""
        await self._blocking(lambda: self._file.punch_hole(offset, length, durability=durability))

    async def zero_range(
        self, offset: int, length: int, *, keep_size: bool = False, durability: str = "full"
    ) -> None:
        """Makes a range zeros that are allocated."""
        await self._blocking(
            lambda: self._file.zero_range(
                offset, length, keep_size=keep_size, durability=durability
            )
        )

    async def probe(self) -> ProbeReport:
        """What lies underneath the file; see fsys.probe()."""
        return await self._blocking(self._file.probe)

    async def device_flush(self, ways: Optional[Iterable[str]] = None) -> FlushReport:
        """A sync, then a flush of each disk underneath; see fsys.File.device_flush()."""
        return await self._blocking(lambda: self._file.device_flush(ways))

    async def _blocking(self, call: Callable[[], T]) -> T:
        return await self._handle._runtime.in_thread(call)

    def set_lifetime(self, lifetime: str) -> None:
        """Tells how long the file's blocks will live."""
        self._file.set_lifetime(lifetime)

    def advise(self, offset: int, length: int, advice: str) -> None:
        """Tells the kernel how a range will be used."""
        self._file.advise(offset, length, advice)

    def info(self) -> FileInfo:
        """Size, alignment and routing of the file."""
        return self._file.info()

    def cause(self) -> str:
        """The sentence behind a sticky failure of the file; '' when there is none."""
        return self._file.cause()

    async def close(self) -> None:
        """Closes the file after its ops in flight have ended."""
        await self._handle._runtime.in_thread(self._file.close)

    @property
    def name(self) -> Any:
        """What open() was given."""
        return self._file.name

    @property
    def closed(self) -> bool:
        """Whether the file or its handle is closed."""
        return self._file.closed


class Reader(Closing):
    """Reads a journal: Journal.reader(), Handle.reader().

    Records are fetched in runs by a thread. A cancelled next() loses none of them.
    """

    _RUN = 256
    _SLICE = 0.2  # seconds: how long a thread outlives a cancelled next()

    def __init__(self, runtime: Runtime, reader: _fsys.Reader) -> None:
        self._runtime = runtime
        self._reader = reader
        self._ready: Deque[Record] = collections.deque()
        self._lock = threading.Lock()

    def _fill(self, timeout: float) -> None:
        with self._lock:
            if self._ready:
                return
            record = self._reader.next(timeout)
            size = 0
            while record is not None:
                self._ready.append(record)
                size += len(record.data)
                if (
                    record.kind is RecordKind.DAMAGE
                    or len(self._ready) >= self._RUN
                    or size >= 1 << 20
                ):
                    return
                record = self._reader.next(0)

    async def next(self, timeout: Optional[float] = 0.0) -> Optional[Record]:
        """The next Record, waiting up to `timeout` seconds (None: without limit); None: none."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            left = self._SLICE if end is None else min(self._SLICE, end - time.monotonic())
            start = time.monotonic()
            await self._runtime.beside(lambda: self._fill(max(0.0, left)))
            if self._ready:
                break
            now = time.monotonic()
            # An end that comes at once is the end: there is no writer to wait for.
            if (end is not None and now >= end) or now - start < left / 2:
                return None
        return self._ready.popleft()

    async def _alone(self, call: Callable[[], T]) -> T:
        def locked() -> T:
            with self._lock:
                self._ready.clear()
                return call()

        return await self._runtime.in_thread(locked)

    async def seek(self, after: int) -> None:
        """Goes to the first record whose LSN is above `after`."""
        await self._alone(lambda: self._reader.seek(after))

    async def skip_damage(self) -> Tuple[int, int]:
        """After DAMAGE: goes to the next readable record and returns the lost range."""
        return await self._alone(self._reader.skip_damage)

    async def close(self) -> None:
        """Closes the reader."""
        await self._runtime.in_thread(self._reader.close)

    @property
    def report(self) -> Optional[JournalReport]:
        """The JournalReport of opening by path."""
        return self._reader.report

    @property
    def closed(self) -> bool:
        """Whether it, or its handle, is closed."""
        return self._reader.closed

    async def __aiter__(self) -> AsyncIterator[Record]:
        while True:
            record = await self.next()
            if record is None:
                return
            if record.kind is RecordKind.DAMAGE:
                raise make(E_CORRUPT, _fsys.error_text(E_CORRUPT), None)
            yield record


class Journal(Closing):
    """A write-ahead journal open for writing: Handle.journal()."""

    def __init__(self, handle: "Handle", journal: _fsys.Journal) -> None:
        self._handle = handle
        self._channel = handle._channel
        self._journal = journal

    async def append(self, data: ReadableBuffer, *, emergency: bool = False) -> int:
        """Appends one record and returns its LSN; nothing is durable yet."""
        try:
            return self._journal.append(data, wait=False, emergency=emergency)
        except BlockingIOError:  # the log buffer is full
            return await self._handle._runtime.in_thread(
                lambda: self._journal.append(data, emergency=emergency)
            )

    async def append_pieces(
        self, pieces: Iterable[ReadableBuffer], *, emergency: bool = False
    ) -> int:
        """Appends one record that is gathered from buffers."""
        return await self._handle._runtime.in_thread(
            lambda: self._journal.append_pieces(pieces, emergency=emergency)
        )

    async def append_batch(
        self, records: Iterable[ReadableBuffer], *, emergency: bool = False
    ) -> List[int]:
        """Appends records that are all there after a crash or none; returns their LSNs."""
        return await self._handle._runtime.in_thread(
            lambda: self._journal.append_batch(records, emergency=emergency)
        )

    async def reserve(self, length: int, *, emergency: bool = False) -> _fsys.Ticket:
        """Reserves the place of a record as a Ticket; see fsys.Journal.reserve()."""
        try:
            return self._journal.reserve(length, wait=False, emergency=emergency)
        except BlockingIOError:  # the log buffer is full
            return await self._handle._runtime.in_thread(
                lambda: self._journal.reserve(length, emergency=emergency), _fsys.Ticket.abandon
            )

    def sync(self, lsn: Optional[int] = None) -> Awaitable[int]:
        """Waits until all through `lsn` (None: all appended so far) is durable; gives the LSN."""
        through = self._journal.frontiers().reserved if lsn is None else lsn
        return self._channel.sync_journal(self, self._journal, through)

    def commit(self, data: ReadableBuffer, *, emergency: bool = False) -> Awaitable[int]:
        """Appends at once and waits until the record is durable; gives its LSN.

        Commits of one turn of the loop share one request. Records are in the order of the calls,
        unless the log buffer is full.
        """
        try:
            lsn = self._journal.append(data, wait=False, emergency=emergency)
        except BlockingIOError:
            return self._commit_later(data, emergency)
        return self._channel.sync_journal(self, self._journal, lsn)

    async def _commit_later(self, data: ReadableBuffer, emergency: bool) -> int:
        return await self.sync(await self.append(data, emergency=emergency))

    async def write_out(self) -> None:
        """Gives everything appended to the kernel: it survives this process, not power loss."""
        await self._handle._runtime.in_thread(self._journal.write_out)

    def frontiers(self) -> Frontiers:
        """How far things are."""
        return self._journal.frontiers()

    async def trim(self, lsn: int) -> None:
        """Gives up records at or below `lsn`."""
        await self._handle._runtime.in_thread(lambda: self._journal.trim(lsn))

    async def truncate(self, lsn: int) -> None:
        """Withdraws all records behind `lsn`."""
        await self._handle._runtime.in_thread(lambda: self._journal.truncate(lsn))

    async def rotate(self) -> None:
        """Makes everything durable and seals the active segment."""
        await self._handle._runtime.in_thread(self._journal.rotate)

    async def next_sealed(self, after: int = 0) -> Segment:
        """Waits for the oldest sealed segment numbered above `after`.

        Ended early only by Error (E_STALE: a truncation withdrew segment `after`; E_CLOSED, also
        when the journal is closed meanwhile) and PoisonedError.
        """
        while True:
            future = self._channel.watch_sealed(self._journal, after)
            try:
                after = await future
            finally:
                self._channel.cancel(future)  # also when this coroutine is closed
            for segment in self._journal.segments():
                if segment.number == after:
                    return segment
            # Trimmed meanwhile: the one behind it.

    async def sealed(self, after: int = 0) -> AsyncIterator[Segment]:
        """Every sealed segment numbered above `after`, as they come, until the journal is closed."""
        while True:
            try:
                segment = await self.next_sealed(after)
            except ClosedError:
                return
            yield segment
            after = segment.number

    async def pin(self, name: str, lsn: int, max_bytes: int = 0) -> None:
        """Keeps what is behind `lsn` from being trimmed."""
        await self._handle._runtime.in_thread(lambda: self._journal.pin(name, lsn, max_bytes))

    async def unpin(self, name: str) -> None:
        """Removes a pin."""
        await self._handle._runtime.in_thread(lambda: self._journal.unpin(name))

    async def snapshot(self, path: StrOrBytesPath, lsn: int = 0) -> None:
        """Copies what is kept up to `lsn` into a new directory."""
        await self._handle._runtime.in_thread(lambda: self._journal.snapshot(path, lsn))

    def pins(self) -> List[Pin]:
        """The pins by name."""
        return self._journal.pins()

    def segments(self) -> List[Segment]:
        """The segment files, oldest first."""
        return self._journal.segments()

    def stats(self) -> JournalStats:
        """Counters since it was opened."""
        return self._journal.stats()

    def cause(self) -> str:
        """The sentence behind a failure; '' when there is none."""
        return self._journal.cause()

    async def reader(self, after: int = 0, *, written: bool = False) -> Reader:
        """Opens a Reader."""
        runtime = self._handle._runtime
        reader = await runtime.in_thread(
            lambda: self._journal.reader(after, written=written), _fsys.Reader.close
        )
        return Reader(runtime, reader)

    async def close(self) -> None:
        """Makes everything durable, closes its readers and the journal."""
        await self._handle._runtime.in_thread(self._journal.close)

    @property
    def report(self) -> JournalReport:
        """What opening found."""
        return self._journal.report

    @property
    def path(self) -> Any:
        """What it was opened by."""
        return self._journal.path

    @property
    def closed(self) -> bool:
        """Whether it, or its handle, is closed."""
        return self._journal.closed


class Handle(Closing, WholeFiles):
    """An engine of one event loop; options as of fsys.Handle.

    Opened inside the loop, used by its thread only, closed by ``async with`` or close().
    """

    def __init__(self, runtime: Runtime, **options: Any) -> None:
        self._runtime = runtime
        self._patience = float(options.get("close_timeout") or 5.0)
        self._handle = _fsys.Handle(**options)
        self._pid = os.getpid()

        # The loop must not keep the handle alive; ops in flight do.
        def tick() -> None:
            channel = weak()
            if channel is not None:
                channel.tick()

        def reap() -> None:
            channel = weak()
            if channel is not None:
                try:
                    channel.reap()
                except OSError:
                    # The handle has failed: its futures know, and nothing more will come.
                    runtime.unwatch(fd)

        def cancelled(future: Any) -> None:
            channel = weak()
            if channel is not None:
                channel.cancel(future)

        self._channel = _fsys.Channel(
            self._handle, runtime.create_future, lambda: runtime.soon(tick), runtime.loop
        )
        weak = weakref.ref(self._channel)
        runtime.cancelled = cancelled
        fd = self._handle.event_fd
        self._fd: Optional[int] = fd
        runtime.watch(fd, reap)

    def _unwatch(self) -> None:
        # In a fork child the loop's epoll descriptor is still the parent's.
        if self._fd is not None and self._pid == os.getpid():
            self._runtime.unwatch(self._fd)
        self._fd = None

    async def open(
        self,
        path: Union[StrOrBytesPath, int, _fsys.HasFileno],
        mode: str = "r",
        *,
        create: bool = False,
        direct: bool = False,
        bounce: bool = False,
        nofollow: bool = False,
        permissions: int = 0o666,
    ) -> File:
        """Opens a File; see fsys.Handle.open()."""
        file = await self._runtime.in_thread(
            lambda: self._handle.open(
                path,
                mode,
                create=create,
                direct=direct,
                bounce=bounce,
                nofollow=nofollow,
                permissions=permissions,
            ),
            _fsys.File.close,
        )
        return File(self, file)

    async def journal(self, path: StrOrBytesPath, **options: Any) -> Journal:
        """Opens a journal for writing; options as of fsys.Handle.journal()."""
        journal = await self._runtime.in_thread(
            lambda: self._handle.journal(path, **options), _fsys.Journal.close
        )
        return Journal(self, journal)

    async def reader(
        self, path: StrOrBytesPath, after: int = 0, *, written: bool = False
    ) -> Reader:
        """Opens a Reader on the journal in a directory."""
        reader = await self._runtime.in_thread(
            lambda: self._handle.reader(path, after, written=written), _fsys.Reader.close
        )
        return Reader(self._runtime, reader)

    def buffer(self, size: int) -> _fsys.Buffer:
        """Allocates aligned memory; see fsys.Handle.buffer()."""
        return self._handle.buffer(size)

    def info(self) -> HandleInfo:
        """Tells what the handle really uses."""
        return self._handle.info()

    def stats(self) -> Counters:
        """Counters since the handle was opened."""
        return self._handle.stats()

    def cause(self) -> str:
        """The sentence behind a sticky failure of the handle; '' when there is none."""
        return self._handle.cause()

    async def close(self) -> None:
        """Waits for ops in flight (close_timeout), then closes the handle and what was opened from
        it. Errors as of fsys.Handle.close()."""
        if self._handle.closed:
            return
        try:
            end = time.monotonic() + self._patience
            pause = 0.0
            while self._channel.busy and time.monotonic() < end and self._fd is not None:
                await self._runtime.sleep(pause)
                pause = min(0.05, pause + 0.001)
        finally:
            self._unwatch()
            self._channel.detach()
            await self._runtime.in_thread(self._handle.close)

    @property
    def closed(self) -> bool:
        """Whether close() has begun."""
        return self._handle.closed

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and not handle.closed and self._fd is not None:
            if self._pid == os.getpid():
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)
                self._unwatch()
