# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The Python code in the guide and the package's README runs."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Sequence

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]


def examples() -> Sequence[object]:
    found = []
    for name in ("README.md", "docs/python.md", "bindings/python/README.md"):
        text = (TOP / name).read_text()
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M):
            line = text[: match.start()].count("\n") + 1
            found.append(pytest.param(match.group(1), id=f"{name}:{line}"))
    assert len(found) > 8
    return found


@pytest.mark.parametrize("code", examples())
def test_example(code: str, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
