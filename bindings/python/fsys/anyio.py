# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fsys for anyio: fsys.aio or fsys.trio, whichever loop is running. Needs the package sniffio, which
anyio brings.

>>> async def main():                                   # doctest: +SKIP
...     async with fsys.anyio.Handle() as handle:
...         file = await handle.open("data")
...         data = await file.read(4096, 0)
"""

from __future__ import annotations

from typing import Any

import sniffio

from . import _async
from ._async import File, Journal, Reader

__all__ = ["File", "Handle", "Journal", "Reader"]


def Handle(**options: Any) -> _async.Handle:
    """Opens a handle for the event loop that is running; options as of fsys.Handle."""
    if sniffio.current_async_library() == "trio":
        from . import trio

        return trio.Handle(**options)
    from . import aio

    return aio.Handle(**options)
