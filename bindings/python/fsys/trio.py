# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys for trio: the names of the package, awaitable. Needs the package trio.

>>> async def main():                                   # doctest: +SKIP
...     async with fsys.trio.Handle() as handle:
...         file = await handle.open("data")
...         data = await file.read(4096, 0)

A read or write is an awaitable for one task, started with the loop's next turn. To overlap several,
start them first and await them afterwards, or use read_many().
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Callable, Generator, Optional, TypeVar

import outcome
import trio

from . import _async
from ._async import File, Journal, Reader
from ._whole import Replacement, Scan

__all__ = ["File", "Handle", "Journal", "Reader", "Replacement", "Scan"]

T = TypeVar("T")


class _Future:
    """A result that one task can wait for."""

    __slots__ = ("_cancelled", "_outcome", "_task")

    def __init__(self, cancelled: Callable[["_Future"], None]) -> None:
        self._cancelled = cancelled
        self._outcome: Any = None
        self._task: Any = None

    def _settle(self, result: Any) -> None:
        self._outcome = result
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def set_result(self, value: Any) -> None:
        self._settle(outcome.Value(value))

    def set_exception(self, error: BaseException) -> None:
        self._settle(outcome.Error(error))

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._outcome is None:
            if self._task is not None:
                raise RuntimeError("another task awaits this already")
            self._task = trio.lowlevel.current_task()

            def abort(raise_cancel: Any) -> trio.lowlevel.Abort:
                self._task = None
                self._cancelled(self)
                return trio.lowlevel.Abort.SUCCEEDED

            yield from trio.lowlevel.wait_task_rescheduled(abort).__await__()
        else:
            yield from trio.lowlevel.checkpoint().__await__()
        result: Any = self._outcome
        return result.unwrap()


class _Runtime(_async.Runtime):
    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._scope: Optional[trio.CancelScope] = None
        this = weakref.ref(self)

        def cancelled(future: _Future) -> None:
            runtime = this()
            if runtime is not None:
                runtime.cancelled(future)

        self.create_future = functools.partial(_Future, cancelled)

    def soon(self, call: Callable[[], None]) -> None:
        self._token.run_sync_soon(call, idempotent=True)

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        self._scope = scope = trio.CancelScope()

        async def watcher() -> None:
            with scope:
                while True:
                    await trio.lowlevel.wait_readable(fd)
                    call()

        trio.lowlevel.spawn_system_task(watcher)

    def unwatch(self, fd: int) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def in_thread(
        self, call: Callable[[], T], undo: Optional[Callable[[T], object]] = None
    ) -> T:
        # The closing of a cancelled block, too, waits for its end, and its result reaches the caller.
        with trio.CancelScope(shield=True):
            result: T = await trio.to_thread.run_sync(call)
            return result

    async def beside(self, call: Callable[[], T]) -> T:
        result: T = await trio.to_thread.run_sync(call, cancellable=True)
        return result

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class Handle(_async.Handle):
    """An engine of the running trio loop; options as of fsys.Handle.

    Used by the thread of the loop only. To be closed with ``async with`` or ``await close()``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(_Runtime(), **options)
