#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Writes the raw Rust bindings from the public headers.

usage: generate.py write  OUTPUT_DIRECTORY HEADER...   src/bindings.rs and tests/layout/table.rs there
       generate.py check  OUTPUT_DIRECTORY HEADER...   exit 1 when those files are not current

Both files are committed, so that building the crate needs neither Python nor libclang. The headers'
C is simple (no bit-fields, unions, nested structs, callbacks); whatever this cannot read is an
error, never left out. That the result is right is checked by the crate's layout test, against what
a C compiler prints.
"""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "abi"))
import make_layout  # noqa: E402  (the parser of structs and constants that the ABI tests use)

TYPES = {
    "void": "c_void", "char": "c_char", "int": "c_int",
    "int32_t": "i32", "uint32_t": "u32", "int64_t": "i64", "uint64_t": "u64",
    "uint8_t": "u8", "uint16_t": "u16", "size_t": "usize", "fsys_op": "fsys_op",
}
KEYWORDS = {"type", "match", "ref", "in", "move", "fn", "mod", "use", "where", "loop", "impl"}
OPAQUE = re.compile(r"\btypedef\s+struct\s+(\w+)\s+\1\s*;")
FUNCTION = re.compile(r"\bFSYS_API\b([^;{}]*?)\b(fsys_\w+)\s*\(([^;{}]*?)\)\s*FSYS_NOEXCEPT\s*;")
DECLARED = re.compile(r"\bFSYS_API\b")
NAMED = re.compile(r"^(.*?)\b(\w+)\s*((?:\[\s*\w+\s*\]\s*)*)$")
VALUE = re.compile(r"^\(*\s*(?:\((\w+)\))?\s*\(?(-?\s*(?:0x[0-9a-fA-F]+|\d+))(u?)(?:ll|l)?\s*\)*$",
                   re.IGNORECASE)
HEAD = """\
// SPDX-License-Identifier: Apache-2.0 OR MIT
// Made by generate.py from the public headers; do not edit.
"""


def stop(reason):
    sys.exit(f"generate.py: {reason}")


class Headers:
    def __init__(self, paths):
        self.structs, self.opaque, self.functions, self.constants = {}, [], [], {}
        texts = [make_layout.read_header(path) for path in sorted(paths)]
        for text in texts:
            self.structs.update(make_layout.STRUCT.findall(text))
            self.opaque += OPAQUE.findall(text)
        self.known = set(self.structs) | set(self.opaque)
        for path, text in zip(sorted(paths), texts):
            found = FUNCTION.findall(text)
            # The macro itself is defined (twice) in fsys.h.
            uses = len(DECLARED.findall(re.sub(r"#\s*define\s+FSYS_API\b", "", text)))
            if len(found) != uses:
                stop(f"{path}: {uses} functions declared, {len(found)} understood")
            self.functions += found
            for name, value in make_layout.CONSTANT.findall(text):
                if make_layout.is_value(value) and name != "FSYS_VERSION":
                    self.constants[name] = self.constant(name, value.strip())

    @staticmethod
    def constant(name, value):
        match = VALUE.match(value)
        if not match:
            stop(f"cannot read the value of {name}: {value}")
        cast, number, unsigned = match.groups()
        kind = TYPES.get(cast) if cast else ("u32" if unsigned else "c_int")
        if not cast and name.startswith("FSYS_VERSION") or name == "FSYS_ABI_MAJOR":
            kind = "u32"
        return kind, number.replace(" ", "")

    def rust_type(self, text, where):
        """`const char *` and the like as Rust."""
        text = text.replace("*", " * ").split()
        base, kind = None, None
        constant = False
        for word in text:
            if word == "const":
                if base is not None:
                    stop(f"{where}: const behind the type is not understood")
                constant = True
            elif word == "struct":
                continue
            elif word == "*":
                kind = f"*{'const' if constant else 'mut'} {kind}"
                constant = False
            elif base is None:
                base = word
                kind = TYPES.get(word) or (word if word in self.known else None)
                if kind is None:
                    stop(f"{where}: unknown type {word}")
            else:
                stop(f"{where}: cannot read {' '.join(text)}")
        return kind

    def field(self, line, where):
        name = list(make_layout.members(where, line))[0]
        match = NAMED.match(line)
        kind = self.rust_type(match.group(1), where)
        for size in reversed(re.findall(r"\w+", match.group(3))):
            kind = f"[{kind}; {size if size.isdigit() else size + ' as usize'}]"
        return name + "_" if name in KEYWORDS else name, kind

    def fields(self, name):
        for line in self.structs[name].split(";"):
            line = " ".join(line.split())
            if line:
                yield self.field(line, name)

    def parameters(self, text, where):
        text = " ".join(text.split())
        if text == "void":
            return []
        return [self.field(part.strip(), where) for part in text.split(",")]


def bindings(headers):
    out = [HEAD, "use std::os::raw::{c_char, c_int, c_void};", "",
           "/// Token of a submitted op. 0 is never one.", "#[allow(non_camel_case_types)]",
           "pub type fsys_op = u64;", ""]
    for name, (kind, value) in headers.constants.items():
        out.append(f"pub const {name}: {kind} = {value};")
    out += ["/// The headers' version as one comparable number: 0x00MMmmpp.",
            "pub const FSYS_VERSION: u32 =",
            "    (FSYS_VERSION_MAJOR << 16) | (FSYS_VERSION_MINOR << 8) | FSYS_VERSION_PATCH;", ""]
    for name in sorted(set(headers.opaque) - set(headers.structs)):
        out += ["#[repr(C)]", f"pub struct {name} {{", "    _opaque: [u8; 0],",
                "    _not_send_sync_unpin:", "        core::marker::PhantomData<(*mut u8, "
                "core::marker::PhantomPinned)>,", "}"]
    for name in sorted(headers.structs):
        out += ["#[repr(C)]", "#[derive(Clone, Copy)]", f"pub struct {name} {{"]
        out += [f"    pub {field}: {kind}," for field, kind in headers.fields(name)]
        out.append("}")
    out += ["", 'extern "C" {']
    for returned, name, parameters in headers.functions:
        arguments = [f"{field}: {kind}" for field, kind in headers.parameters(parameters, name)]
        kind = "" if returned.strip() == "void" else f" -> {headers.rust_type(returned, name)}"
        line = f"    pub fn {name}({', '.join(arguments)}){kind};"
        if len(line) > 100:
            line = f"    pub fn {name}(\n" + "".join(f"        {a},\n" for a in arguments)
            line += f"    ){kind};"
        out.append(line)
    out.append("}")
    return "\n".join(out) + "\n"


def table(headers):
    out = [HEAD, "use super::*;\n", "pub fn rows() -> Vec<String> {", "    let mut rows = Vec::new();"]
    for name in sorted(headers.structs):
        names = ", ".join(field for field, _ in headers.fields(name))
        out.append(f"    layout!(rows, {name}, {names});")
    out += [f"    constant!(rows, {name});" for name in headers.constants
            if name not in make_layout.NOT_ABI]
    return "\n".join(out + ["    rows", "}"]) + "\n"


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    headers = Headers(sys.argv[3:])
    files = {"src/bindings.rs": bindings(headers), "tests/layout/table.rs": table(headers)}
    code = 0
    for name, text in files.items():
        path = os.path.join(sys.argv[2], name)
        current = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                current = file.read()
        if sys.argv[1] == "write":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        elif current != text:
            print(f"{path} is not what the headers say; run tools/abi-update and commit it")
            code = 1
    sys.exit(code)


main()
