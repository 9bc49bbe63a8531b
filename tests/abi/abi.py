#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Compares the ABI of the built library with what is committed beside this script.

usage: abi.py symbols LIBRARY        exported functions and their versions, symbols.txt
       abi.py layout  PROGRAM        sizes, offsets and constants, layout.txt
       abi.py types   LIBRARY INCLUDE_DIR   the functions' types, abi-x86_64.xml (abigail)
       abi.py binary  LIBRARY        what the library does at load and unload
       abi.py update  PROGRAM LIBRARY DEBUG_LIBRARY INCLUDE_DIR   writes the committed files anew
                                     (tools/abi-update calls this)

Exit code 0: as committed; 1: not; 77: cannot be checked here, with the reason.
"""
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SYMBOLS = os.path.join(HERE, "symbols.txt")
LAYOUT = os.path.join(HERE, "layout.txt")
TYPES = os.path.join(HERE, "abi-x86_64.xml")
ADVICE = "If an addition is meant, run tools/abi-update and commit what it writes."
BREAK = (
    "Programs built against an older libfsys.so.1 would break. Keep the old name, number and "
    "layout (grow structs at the end, add functions under new names)."
)


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def read_table(text, separator):
    return dict(line.split(separator, 1) for line in text.splitlines() if line)


def compare(what, committed, current):
    """Prints what differs; the exit code."""
    gone = sorted(set(committed) - set(current))
    new = sorted(set(current) - set(committed))
    changed = sorted(k for k in set(current) & set(committed) if current[k] != committed[k])
    for key in gone:
        print(f"gone: {key} (was {committed[key]})")
    for key in changed:
        print(f"changed: {key}: was {committed[key]}, is {current[key]}")
    for key in new:
        print(f"new: {key} = {current[key]}")
    # A struct that grew at its end shows as a changed size and new members: allowed, but recorded,
    # where struct_size tells the library which version the caller knows. Others are array elements.
    grown = [k for k in changed
             if k.startswith("struct ") and k[len("struct "):] + ".struct_size" in committed]
    if gone or len(changed) > len(grown):
        print(f"The {what} broke. {BREAK}")
    elif new or grown:
        print(f"The {what} grew. {ADVICE}")
    else:
        print(f"{len(current)} entries, all as committed")
        return 0
    return 1


def symbols_of(library):
    """{name: version} of what the library exports, without the version nodes themselves."""
    table = {}
    for line in run("nm", "-D", "--defined-only", "--with-symbol-versions", library).splitlines():
        kind, name = line.split()[-2:]
        if kind == "A":  # a version node
            continue
        base, _, version = name.partition("@@")
        table[base] = version or "(no version)"
    return table


def check_symbols(library):
    with open(SYMBOLS, encoding="utf-8") as committed:
        return compare("symbol list", read_table(committed.read(), " "), symbols_of(library))


def layout_text(program):
    lines = run(program).splitlines()
    return lines[0], lines[1:]


def table_of(lines):
    return dict(re.split(r": | = ", line, maxsplit=1) for line in lines)


def check_layout(program):
    with open(LAYOUT, encoding="utf-8") as committed:
        model, *lines = committed.read().splitlines()
    here, current = layout_text(program)
    if here != model:
        skip(f"layout.txt is for '{model}', this machine has '{here}'")
    return compare("layout", table_of(lines), table_of(current))


def check_binary(library):
    """Properties that make dlopen and dlclose free of lasting effects."""
    problems = []
    dynamic = run("readelf", "-dW", library)
    sections = run("readelf", "-SW", library)
    symbols = run("readelf", "--dyn-syms", "-W", library)
    imported = set(run("nm", "-D", "--undefined-only", library).split())
    imported = {re.sub(r"@.*", "", name) for name in imported}

    soname = re.search(r"SONAME.*\[(.*)\]", dynamic)
    if not soname or soname.group(1) != "libfsys.so.1":
        problems.append(f"the soname is {soname and soname.group(1)}, not libfsys.so.1")
    allowed = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0",
               "libisal.so.2"}  # CRC-32C of the journal
    loader = re.compile(r"ld-linux.*\.so\.\d+$")
    for needed in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
        if needed not in allowed and not loader.match(needed):
            problems.append(f"needs {needed}: only the C and C++ runtime and ISA-L are expected")
    for tag, why in (
        ("RPATH", "looks for libraries where it was built"),
        ("RUNPATH", "looks for libraries where it was built"),
        ("TEXTREL", "is not position independent"),
        ("NODELETE", "stays loaded after dlclose"),
        ("INITFIRST", "runs code at load"),
        ("PREINIT_ARRAY", "runs code at load"),
    ):
        if re.search(rf"\b{tag}\b", dynamic):
            problems.append(f"has {tag}: it {why}")
    # The C runtime puts one function into .init_array and .fini_array; more is a global constructor.
    word = 8 if "ELF64" in run("readelf", "-hW", library) else 4
    for name in (".init_array", ".fini_array"):
        found = re.search(rf"\]\s+\{name}\s+\S+\s+\S+\s+\S+\s+([0-9a-f]+)", sections)
        entries = int(found.group(1), 16) // word if found else 0
        if entries > 1:
            problems.append(f"{name} has {entries} entries: a global object runs code at load")
    for name, why in (
        ("__cxa_thread_atexit", "a thread_local with a destructor keeps it loaded after dlclose"),
        ("__cxa_thread_atexit_impl", "a thread_local with a destructor keeps it loaded"),
        ("atexit", "code at exit would outlive dlclose"),
        ("on_exit", "code at exit would outlive dlclose"),
        ("exit", "a library does not end its host"),
        ("_exit", "a library does not end its host"),
        ("abort", "a library does not end its host"),
        ("signal", "a library installs no signal handlers"),
        ("sigaction", "a library installs no signal handlers"),
        ("printf", "a library does not print"),
        ("puts", "a library does not print"),
        ("_ZSt4cout", "a library does not print"),
        ("_ZSt4cerr", "a library does not print"),
        ("_ZNSt8ios_base4InitC1Ev", "<iostream> runs code at load"),
    ):
        if name in imported:
            problems.append(f"imports {name}: {why}")
    if re.search(r"\bUNIQUE\b", symbols):
        problems.append("has STB_GNU_UNIQUE symbols: they keep it loaded after dlclose")
    for problem in problems:
        print(f"{os.path.basename(library)} {problem}")
    if not problems:
        print("soname, dependencies, load and unload are as they should be")
    return 1 if problems else 0


def abigail(name):
    tool = shutil.which(name)
    if not tool:
        skip(f"{name} is not installed (Debian package abigail-tools)")
    if platform.machine() != "x86_64":
        skip(f"the committed types are for x86_64, this machine is {platform.machine()}")
    return tool


def write_types(library, include_dir, path):
    # Only what is exported and what the public headers define: the entry points' internal types
    # may change from day to day.
    run(abigail("abidw"), "--headers-dir", include_dir, "--drop-private-types",
        "--exported-interfaces-only", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs",
        "--no-elf-needed", "--out-file", path, library)


def check_types(library, include_dir):
    tool = abigail("abidiff")
    with open(TYPES, encoding="utf-8") as committed:
        functions = len(re.findall(r"<function-decl .*elf-symbol-id=", committed.read()))
    if functions == 0:
        print("abi-x86_64.xml holds no function types: it was made from a library without -g")
        return 1
    # Dump against dump: comparing with the library itself filters the public structs out, too.
    with tempfile.TemporaryDirectory() as scratch:
        current = os.path.join(scratch, "current.xml")
        write_types(library, include_dir, current)
        result = subprocess.run([tool, "--no-added-syms", "--no-show-locs", TYPES, current],
                                stdout=subprocess.PIPE, text=True)
    print(result.stdout, end="")
    if result.returncode == 0:
        print(f"the types of {functions} functions are as committed (additions allowed)")
        return 0
    if result.returncode & 3:
        print(f"abidiff failed with {result.returncode}")
    else:
        print(f"Types of exported functions changed. {BREAK} {ADVICE}")
    return 1


def update(program, library, debug_library, include_dir):
    with open(SYMBOLS, "w", encoding="utf-8") as out:
        for name, version in sorted(symbols_of(library).items()):
            out.write(f"{name} {version}\n")
    with open(LAYOUT, "w", encoding="utf-8") as out:
        out.write(run(program))
    write_types(debug_library, include_dir, TYPES)
    for path in (SYMBOLS, LAYOUT, TYPES):
        print(f"wrote {os.path.relpath(path)}")
    return 0


COMMANDS = {"symbols": check_symbols, "layout": check_layout, "types": check_types,
            "binary": check_binary, "update": update}
if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
    sys.exit(__doc__)
sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))
