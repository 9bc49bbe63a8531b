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
from typing import Any, Callable, TypeVar

from . import _async
from ._async import File, Journal, Reader
from ._whole import Replacement, Scan

__all__ = ["File", "Handle", "Journal", "Reader", "Replacement", "Scan"]

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

    async def in_thread(self, call: Callable[[], T]) -> T:
        work = self.loop.run_in_executor(None, call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # What the call opened or closed must have come to its end.
            if not work.done():
                await asyncio.wait([work])
            if not work.cancelled():
                work.exception()
            raise

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
