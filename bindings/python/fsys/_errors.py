# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Exceptions for the conditions that the operating system has no errno for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _fsys

if TYPE_CHECKING:
    from ._types import JournalReport

E_CLOSED = -4097
E_STALE = -4098
E_POISONED = -4099
E_DRIVER_DEAD = -4100
E_FORKED = -4101
E_WRONG_THREAD = -4102
E_URING_SETUP = -4103
E_MISALIGNED = -4104
E_NOTHING = -4105
E_SHORT = -4106
E_BAD_STRUCT = -4107
E_BAD_FLAG = -4108
E_CORRUPT = -4109
E_NOT_ATOMIC = -4110
E_UNKNOWN = -4111
E_LOCKED = -4112
E_MISMATCH = -4113


class Error(OSError):
    """A condition of the library itself.

    An OSError whose ``errno`` is the library's code, below -4096 and so never an errno of the
    operating system. Errors of the operating system are raised as CPython raises them:
    FileNotFoundError, BlockingIOError, OSError with its errno.
    """

    errno: int
    #: Bytes that were transferred before the failure; 0 when none or not known.
    bytes_done: int = 0
    #: After Journal.commit(): the LSN of the record that was appended; 0 otherwise.
    lsn: int = 0

    @property
    def code(self) -> int:
        """The library's code: fsys.E_CLOSED, fsys.E_POISONED ..."""
        return self.errno

    @property
    def name(self) -> str:
        """The code's name in the C header, as 'FSYS_E_CLOSED'."""
        return _fsys.error_name(self.errno)

    def __str__(self) -> str:
        where = "" if self.filename is None else f": {os.fspath(self.filename)!r}" \
            if not isinstance(self.filename, int) else f": descriptor {self.filename}"
        return f"[{self.name}] {self.strerror}{where}"


class ClosedError(Error):
    """The handle, file, journal or reader is closed (E_CLOSED)."""


class PoisonedError(Error):
    """An earlier failure is sticky: nothing later is durable (E_POISONED). See cause()."""


class FateUnknownError(Error):
    """Whether the bytes are durable is not known; open again to learn (E_UNKNOWN)."""


class LockedError(Error):
    """Another process or handle has it open for writing (E_LOCKED)."""


class CorruptError(Error):
    """Bytes that had been acknowledged as durable are missing or altered (E_CORRUPT)."""

    #: What opening the journal found; None when it was a reader that came upon the damage.
    report: JournalReport | None = None


_CLASSES: dict[int, type[Error]] = {
    E_CLOSED: ClosedError,
    E_POISONED: PoisonedError,
    E_UNKNOWN: FateUnknownError,
    E_LOCKED: LockedError,
    E_CORRUPT: CorruptError,
}


def make(code: int, text: str, filename: object) -> Error:
    """Makes the exception of a library code; called by the extension."""
    kind = _CLASSES.get(code, Error)
    return kind(code, text) if filename is None else kind(code, text, filename)
