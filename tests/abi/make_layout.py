#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Writes a C program that prints the layout of everything public, as a C compiler sees it.

usage: make_layout.py HEADER... > layout.c

Finds every struct with a body and every constant in the headers, so that none can be forgotten.
Understands the C that public headers use: no bit-fields, nested structs or multi-line macros with
arguments. A member that it cannot read is an error, never left out.
"""
import re
import sys

# Change with every release and say nothing about the ABI.
NOT_ABI = {"FSYS_VERSION", "FSYS_VERSION_MAJOR", "FSYS_VERSION_MINOR", "FSYS_VERSION_PATCH"}

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{([^{}]*)\}")
FUNCTION_POINTER = re.compile(r"\(\s*\*\s*(\w+)\s*\)\s*\(")
MEMBER = re.compile(r"(\w+)\s*((?:\[[^\]]*\]\s*)*)$")
CONSTANT = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(FSYS_\w+)[ \t]+([^\s].*)$", re.MULTILINE)


def members(name, body):
    for line in body.split(";"):
        line = " ".join(line.split())
        if not line:
            continue
        found = FUNCTION_POINTER.search(line) or MEMBER.search(line)
        if not found or ":" in line or "," in line and not FUNCTION_POINTER.search(line):
            sys.exit(f"make_layout.py: cannot read member '{line}' of struct {name}")
        yield found.group(1)


def read_header(path):
    """A header's text without comments, continued lines joined."""
    with open(path, encoding="utf-8") as header:
        return COMMENT.sub(" ", header.read()).replace("\\\n", " ")


def is_value(value):
    """Decorations (attributes, noexcept) are not values."""
    return re.match(r"[-+(]*(?:\(\w+\)|\d|FSYS_)", value) and "__" not in value


def main():
    structs, constants, includes = {}, [], []
    for path in sys.argv[1:]:
        text = read_header(path)
        includes.append("fsys/" + path.rsplit("/", 1)[-1])
        for name, body in STRUCT.findall(text):
            structs[name] = list(members(name, body))
        for name, value in CONSTANT.findall(text):
            if name not in NOT_ABI and is_value(value):
                constants.append(name)
    print("/* Made by make_layout.py; do not edit. */")
    print("#include <inttypes.h>\n#include <stddef.h>\n#include <stdio.h>")
    for include in sorted(set(includes)):
        print(f"#include <{include}>")
    print("int main(void) {")
    print('    printf("pointer %zu long %zu\\n", sizeof(void *), sizeof(long));')
    for name, fields in sorted(structs.items()):
        print(f'    printf("struct {name}: size %zu align %zu\\n", sizeof(struct {name}),')
        print(f"           _Alignof(struct {name}));")
        for field in fields:
            print(f'    printf("{name}.{field}: offset %zu size %zu\\n",')
            print(f"           offsetof(struct {name}, {field}),")
            print(f"           sizeof(((struct {name} *)0)->{field}));")
    for name in sorted(set(constants)):
        print(f'    printf("{name} = %" PRId64 "\\n", (int64_t)({name}));')
    print("    return 0;\n}")


if __name__ == "__main__":
    main()
