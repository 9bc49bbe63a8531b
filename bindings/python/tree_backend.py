# SPDX-License-Identifier: Apache-2.0 OR MIT
"""PEP 517 backend: meson-python, run at the top of the source tree."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any, Dict, Iterator, List, Optional

import mesonpy

_TOP = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def _at_the_top() -> Iterator[None]:
    if not (_TOP / "meson.build").exists():
        raise SystemExit(f"{_TOP} is not the source tree of libfsys: bindings/python cannot be built "
                         "apart from it")
    before = os.getcwd()
    os.chdir(_TOP)
    try:
        yield
    finally:
        os.chdir(before)


def get_requires_for_build_wheel(config: Optional[Dict[str, Any]] = None) -> List[str]:
    with _at_the_top():
        return list(mesonpy.get_requires_for_build_wheel(config))


def build_wheel(
    directory: str, config: Optional[Dict[str, Any]] = None, metadata: Optional[str] = None
) -> str:
    directory = os.path.abspath(directory)
    with _at_the_top():
        return str(mesonpy.build_wheel(directory, config, metadata))


def get_requires_for_build_sdist(config: Optional[Dict[str, Any]] = None) -> List[str]:
    with _at_the_top():
        return list(mesonpy.get_requires_for_build_sdist(config))


def build_sdist(directory: str, config: Optional[Dict[str, Any]] = None) -> str:
    directory = os.path.abspath(directory)
    with _at_the_top():
        return str(mesonpy.build_sdist(directory, config))
