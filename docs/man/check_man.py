#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Checks the manual pages against the library.

Every function of the version script has a page, by its own name or by a link, that lists it under
NAME and gives the prototype of the header under SYNOPSIS; and every one has a description in the
header. Every option in the program's help is in fsys(1) or fsys-journal(1), and no other. The pages are free of
warnings of mandoc and man, as far as these are installed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

problems = []


def problem(text):
    print(text, file=sys.stderr)
    problems.append(text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def squeeze(prototype):
    """One spelling for `T *name` and `T * name`, whatever the line breaks."""
    text = " ".join(prototype.split())
    return re.sub(r"\s*([*,()])\s*", r"\1", text)


def exported(map_text):
    return re.findall(r"\b(\w+)\s*;", re.sub(r"/\*.*?\*/", "", map_text, flags=re.DOTALL))


def header_prototypes(headers):
    """Name to prototype, of the declarations that a comment describes."""
    found = {}
    for path in headers:
        text = read(path)
        for match in re.finditer(r"^FSYS_API\s+([^;]*?)\s+FSYS_NOEXCEPT;", text, re.MULTILINE):
            prototype = match.group(1)
            name = re.search(r"(\w+)\s*\(", prototype).group(1)
            found[name] = squeeze(prototype)
            if not text[:match.start()].rstrip().endswith("*/"):
                problem(f"{path}: {name} has no description")
    return found


def section(page, title):
    match = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", page, re.MULTILINE | re.DOTALL)
    return match.group(1) if match else ""


def page_names(page):
    return [n.rstrip(" ,") for n in re.findall(r"^\.Nm (\S+)", section(page, "NAME"), re.MULTILINE)]


def page_prototypes(page):
    found = {}
    pattern = r"^\.Ft (.+)\n\.Fo (\w+)\n((?:\.Fa .+\n)*)\.Fc"
    for kind, name, arguments in re.findall(pattern, section(page, "SYNOPSIS"), re.MULTILINE):
        parts = [a.strip('"') for a in re.findall(r"^\.Fa (.+)$", arguments, re.MULTILINE)]
        found[name] = squeeze(f"{kind} {name}({', '.join(parts)})")
    return found


# Which command's options belong into which page.
PROGRAM_PAGES = {
    "fsys.1": [[], ["demo"], ["put"], ["sync"], ["probe"], ["copy"], ["bench"]],
    "fsys-journal.1": [["journal", *command.split()] for command in (
        "append", "cat", "tail", "dump", "ls", "stat", "verify", "explain", "trim", "pins list",
        "pins add", "pins remove", "snapshot", "salvage")],
}


def check_program(program, name, page):
    told = set()
    for command in PROGRAM_PAGES[name]:
        run = subprocess.run([program, *command, "--help"], stdout=subprocess.PIPE, text=True,
                             check=True)
        # A line of the option table, not a mention in the examples.
        told |= set(re.findall(r"^ {1,4}(?:-\w,)?--([\w-]+)", run.stdout, re.MULTILINE))
    written = set(re.findall(r"Fl Fl ([\w-]+)", page))
    for option in sorted(told - written):
        problem(f"{name}: --{option} is missing")
    for option in sorted(written - told):
        problem(f"{name}: the program has no --{option}")
    if not told:
        problem(f"{program}: no option in its help")


def lint(paths):
    mandoc, man = shutil.which("mandoc"), shutil.which("man")
    for path in paths:
        if mandoc:
            run = subprocess.run([mandoc, "-Tlint", "-Wwarning", path], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True, check=False)
            if run.stdout.strip():
                problem(run.stdout.strip())
        if man:
            run = subprocess.run([man, "--warnings", "-E", "UTF-8", "-l", path],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                 check=False,
                                 env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
            if run.returncode != 0 or run.stderr.strip():
                problem(f"{path}: {run.stderr.strip() or 'man failed'}")
    for name, tool in (("mandoc", mandoc), ("man", man)):
        if not tool:
            print(f"not checked with {name}: it is not installed")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--map", required=True)
    parser.add_argument("--headers", nargs="+", required=True)
    parser.add_argument("--pages", nargs="+", required=True)
    parser.add_argument("--links", nargs="*", default=[])
    parser.add_argument("--program")
    options = parser.parse_args()

    functions = exported(read(options.map))
    declared = header_prototypes(options.headers)
    pages = {os.path.basename(p): read(p) for p in options.pages}
    targets = {}
    for name in pages:
        targets[name] = name
    for path in options.links:
        targets[os.path.basename(path)] = os.path.basename(read(path).split()[1])

    if not functions:
        problem(f"{options.map}: no function found")
    for function in functions:
        if function not in declared:
            problem(f"{function}: exported, but no public header declares it")
            continue
        page_name = targets.get(function + ".3")
        if page_name is None:
            problem(f"{function}: no manual page")
            continue
        if function not in page_names(pages[page_name]):
            problem(f"{page_name}: does not list {function} under NAME")
        prototype = page_prototypes(pages[page_name]).get(function)
        if prototype != declared[function]:
            problem(f"{page_name}: {function} is\n  {prototype}\nin the header\n  "
                    f"{declared[function]}")
    for name, page in pages.items():
        for reference in re.findall(r"^\.Xr (fsys[\w-]*|libfsys) (\d)", page, re.MULTILINE):
            file_name = ".".join(reference)
            if file_name not in targets and file_name not in PROGRAM_PAGES:
                problem(f"{name}: refers to {file_name}, which does not exist")
    if options.program:
        for name in PROGRAM_PAGES:
            check_program(options.program, name, pages[name])
    lint(options.pages)
    print(f"{len(functions)} functions, {len(pages)} pages, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
