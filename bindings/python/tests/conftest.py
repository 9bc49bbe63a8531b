# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Handles on both backends; temporary directories on a real file system come from pytest."""

from __future__ import annotations

from typing import Iterator

import pytest

import fsys


@pytest.fixture(params=["default", "threads"])
def handle(request: pytest.FixtureRequest) -> Iterator[fsys.Handle]:
    with fsys.Handle(backend=request.param) as opened:
        yield opened
