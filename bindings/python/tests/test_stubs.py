# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Stubs, docstrings and types: what people see is there, documented and typed."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pathlib
import subprocess
import sys
from typing import Any, Dict, Iterator, Set, Tuple

import pytest

import fsys
from fsys import _fsys

PACKAGE = pathlib.Path(fsys.__file__).parent
MODULES = ["fsys", "fsys.aio", "fsys.trio", "fsys.anyio", "fsys._async", "fsys._types",
           "fsys._errors", "fsys._whole", "fsys.__main__", "fsys._bench", "fsys._output"]


def stub_names() -> Dict[str, Set[str]]:
    """Classes with their members, and functions (under ""), of the stub."""
    names: Dict[str, Set[str]] = {"": set()}
    for node in ast.parse((PACKAGE / "_fsys.pyi").read_text()).body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            names[""].add(node.name)
    del names["HasFileno"]
    return names


def test_the_stub_has_the_names_of_the_module() -> None:
    stub = stub_names()
    module = {name: value for name, value in vars(_fsys).items() if not name.startswith("__")}
    classes = {name: value for name, value in module.items() if inspect.isclass(value)}
    assert set(classes) == set(stub) - {""}
    assert set(module) - set(classes) == stub[""]
    special = {"__init__", "__enter__", "__exit__", "__iter__", "__next__", "__len__"}
    for name, value in classes.items():
        members = {m for m in vars(value) if not m.startswith("_") or m in special}
        constructible = {"Handle", "Channel", "AsyncFile"}
        if name not in constructible:
            members.discard("__init__")
        assert members == stub[name] - {"__buffer__", "__await__"}, name


def test_parameters_of_the_stub_are_those_of_the_module() -> None:
    stub = ast.parse((PACKAGE / "_fsys.pyi").read_text())
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and node.name not in ("HasFileno", "Channel"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("__"):
                    if method.decorator_list:
                        continue
                    what = getattr(getattr(_fsys, node.name), method.name)
                    arguments = [*method.args.args[1:], *method.args.kwonlyargs]
                    if what.__text_signature__:  # not made by pybind11
                        known = [*inspect.signature(what).parameters][1:]
                        positional = [arg.arg for arg in method.args.posonlyargs[1:]]
                        assert known == positional + [arg.arg for arg in arguments if
                                                      arg.arg != "self"], (node.name, method.name)
                        continue
                    doc = what.__doc__
                    for arg in arguments:
                        assert f"{arg.arg}:" in doc.split("\n")[0], (node.name, method.name, arg.arg)


def documented() -> Iterator[Tuple[str, Any]]:
    for name in MODULES:
        module = importlib.import_module(name)
        yield name, module
        for key, value in vars(module).items():
            if key.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if not str(value.__module__).startswith("fsys"):
                continue
            yield f"{name}.{key}", value
            if inspect.isclass(value):
                for member, what in vars(value).items():
                    if not member.startswith("_") and (
                        callable(what) or isinstance(what, property)
                    ):
                        yield f"{name}.{key}.{member}", what


def test_everything_has_a_docstring() -> None:
    missing = [name for name, what in documented() if not (what.__doc__ or "").strip()]
    # pybind11 always gives the signature; a text must follow it.
    for name, value in vars(_fsys).items():
        if inspect.isclass(value):
            for member, what in vars(value).items():
                if not member.startswith("_") and callable(what):
                    if getattr(what, "__text_signature__", None) and what.__doc__:
                        continue  # there the signature is apart
                    if len((what.__doc__ or "").strip().splitlines()) < 2:
                        missing.append(f"{name}.{member}")
    assert missing == []


def test_all_is_complete() -> None:
    public = {
        name
        for name, value in vars(fsys).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    } - {"annotations", "Optional", "TYPE_CHECKING"}
    assert public == set(fsys.__all__)


def test_version_is_that_of_the_library() -> None:
    assert fsys.__version__ == _fsys.version()


def test_mypy_strict(tmp_path: pathlib.Path) -> None:
    tests = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir",
         os.environ.get("FSYS_MYPY_CACHE", str(tmp_path)),
         "--config-file", str(tests / "mypy.ini"), str(PACKAGE), str(tests)],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
