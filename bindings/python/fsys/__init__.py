# SPDX-License-Identifier: Apache-2.0 OR MIT
"""File IO for programs that must know when their bytes are safe.

>>> import fsys
>>> with fsys.Handle() as handle, handle.open("data", "w+") as file:   # doctest: +SKIP
...     file.write(b"hello", 0, durable=True)
...     file.read(5, 0)

Everything is opened from a Handle: files (Handle.open), journals (Handle.journal, Handle.reader),
aligned buffers (Handle.buffer). fsys.aio has the same names for asyncio, fsys.trio for trio.

Blocking calls give up the GIL. Errors of the operating system are the OSError that CPython would
raise, conditions of the library are fsys.Error. A handle belongs to the process that opened it: in
a fork child every call on it is Error (E_FORKED).
"""

from __future__ import annotations

import atexit as _atexit
import os as _os
from typing import TYPE_CHECKING, Optional

from . import _fsys
from ._errors import (
    E_BAD_FLAG,
    E_BAD_STRUCT,
    E_CLOSED,
    E_CORRUPT,
    E_DRIVER_DEAD,
    E_FORKED,
    E_LOCKED,
    E_MISALIGNED,
    E_MISMATCH,
    E_NOT_ATOMIC,
    E_NOTHING,
    E_POISONED,
    E_SHORT,
    E_STALE,
    E_UNKNOWN,
    E_URING_SETUP,
    E_WRONG_THREAD,
    ClosedError,
    CorruptError,
    Error,
    FateUnknownError,
    LockedError,
    PoisonedError,
)
from ._fsys import (
    Buffer,
    File,
    Handle,
    Journal,
    Op,
    Reader,
    Replacement,
    Scan,
    Ticket,
    check_journal,
    device_flush,
    error_name,
    error_text,
    explain_journal,
    list_pins,
    list_segments,
    probe,
    salvage_journal,
    snapshot_journal,
    wait_any,
)
from ._types import (
    BatchResult,
    Counters,
    FileInfo,
    FileReport,
    FlushReport,
    Frontiers,
    HandleInfo,
    JournalFinding,
    JournalReport,
    JournalStats,
    Pin,
    ProbeDevice,
    ProbeReport,
    Record,
    RecordKind,
    ScanEntry,
    Segment,
)

if TYPE_CHECKING:
    from ._fsys import ReadableBuffer, StrOrBytesPath

__version__ = _fsys.version()

# Ops end before Python gives back the memory that they use.
_atexit.register(_fsys._close_all)

_default: Optional[Handle] = None


def _forget_default() -> None:
    global _default
    _default = None


_os.register_at_fork(after_in_child=_forget_default)


def default_handle() -> Handle:
    """The handle behind the functions of this module that take none, opened at its first use.

    It costs no thread until an op needs one. A fork child gets one of its own.
    """
    global _default
    if _default is None or _default.closed:
        _default = Handle()
    return _default


def stats(handle: Optional[Handle] = None) -> Counters:
    """Counters of a handle, by default of the default one."""
    return (handle or default_handle()).stats()


def replace(
    path: StrOrBytesPath,
    data: ReadableBuffer,
    *,
    durability: str = "full",
    permissions: int = 0o666,
) -> FileReport:
    """Replaces a file by the default handle; see Handle.replace()."""
    return default_handle().replace(path, data, durability=durability, permissions=permissions)


__all__ = [
    "BatchResult",
    "Buffer",
    "ClosedError",
    "CorruptError",
    "Counters",
    "E_BAD_FLAG",
    "E_BAD_STRUCT",
    "E_CLOSED",
    "E_CORRUPT",
    "E_DRIVER_DEAD",
    "E_FORKED",
    "E_LOCKED",
    "E_MISALIGNED",
    "E_MISMATCH",
    "E_NOTHING",
    "E_NOT_ATOMIC",
    "E_POISONED",
    "E_SHORT",
    "E_STALE",
    "E_UNKNOWN",
    "E_URING_SETUP",
    "E_WRONG_THREAD",
    "Error",
    "FateUnknownError",
    "File",
    "FileInfo",
    "FileReport",
    "FlushReport",
    "Frontiers",
    "Handle",
    "HandleInfo",
    "Journal",
    "JournalFinding",
    "JournalReport",
    "JournalStats",
    "LockedError",
    "Op",
    "Pin",
    "PoisonedError",
    "ProbeDevice",
    "ProbeReport",
    "Reader",
    "Record",
    "RecordKind",
    "Replacement",
    "Scan",
    "ScanEntry",
    "Segment",
    "Ticket",
    "check_journal",
    "default_handle",
    "device_flush",
    "error_name",
    "error_text",
    "explain_journal",
    "list_pins",
    "list_segments",
    "probe",
    "replace",
    "salvage_journal",
    "snapshot_journal",
    "stats",
    "wait_any",
]
