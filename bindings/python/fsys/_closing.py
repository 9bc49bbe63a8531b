# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the asynchronous classes that are closed have in common."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, Type, TypeVar

T = TypeVar("T")


class Closing:
    """Closed at the end of an ``async with``."""

    async def close(self) -> None:
        """Ends its use."""
        raise NotImplementedError

    async def __aenter__(self: T) -> T:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()
