# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Builds and runs the benchmark programs for tools/bench. What cannot be built or run is a reason
in words, never a silent gap. One thread; children write their tables to log files and their
progress to the terminal."""

import json
import os
import shutil
import subprocess
import sys
import time

import figures

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Comparisons that belong to the parts "engine" and "journal"; the others have parts of their own.
ENGINE_GROUPS = ("idle", "single/", "batch/", "depth/", "nop/", "durable/", "open-loop/")
JOURNAL_GROUPS = ("commit/", "async/", "open-loop/", "append/", "scan/", "open")

# Seconds that each part takes on 2 processors once everything is built: a full run, --quick.
EXPECTED = {"engine": (900, 45), "peers": (420, 50), "journal": (600, 60), "python": (150, 30),
            "rust": (90, 15), "growth": (330, 45)}


class Missing(Exception):
    """A part that cannot run here, with the reason."""


class Bench:
    """Where things are, and how the programs are called."""

    def __init__(self, build, directory, quick, jobs):
        self.build = os.path.abspath(build)
        self.directory = os.path.abspath(directory)
        self.quick = quick
        self.jobs = jobs
        self.logs = os.path.join(self.build, "bench-logs")
        self.commands = []
        self.began = time.monotonic()

    def say(self, text):
        elapsed = int(time.monotonic() - self.began)
        print(f"[{elapsed // 60:3}:{elapsed % 60:02}] {text}", file=sys.stderr, flush=True)

    def log(self, name):
        os.makedirs(self.logs, exist_ok=True)
        return os.path.join(self.logs, name + ".txt")

    def run(self, words, log, measured=False, env=None, cwd=None):
        """Runs a program; @return its exit code. stdout goes to the log file, stderr is shown."""
        if measured:
            self.commands.append(" ".join(short(word) for word in words))
        with open(log, "w", encoding="utf-8") as out:
            out.write("$ " + " ".join(words) + "\n")
            out.flush()
            return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=None if measured else out, check=False, cwd=cwd,
                                  env={**os.environ, **(env or {})}).returncode

    # Building

    def install(self):
        """What tools/check does: Debian's packages as root, else the command to type."""
        script = 'root=$1; . "$1/tools/common.sh"; need_packages build bench'
        code = subprocess.run(["bash", "-euo", "pipefail", "-c", script, "tools/bench", ROOT],
                              stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
        if code != 0:
            raise SystemExit(code)

    def configure_and_build(self):
        options = ["--buildtype=release", "-Dbenchmarks=enabled", "-Dtools=disabled",
                   "-Dtests=disabled", "-Dexamples=disabled", "-Dman=disabled", "-Dmodel=disabled"]
        setup = ["meson", "setup", self.build, ROOT, "--wrap-mode=nodownload", *options]
        if os.path.exists(os.path.join(self.build, "meson-private", "coredata.dat")):
            setup.insert(2, "--reconfigure")
        self.say("building the library and its benchmarks")
        for name, words in (("configure", setup),
                            ("build", ["ninja", "-C", self.build, "-j", str(self.jobs)])):
            log = self.log(name)
            if self.run(words, log) != 0:
                with open(log, encoding="utf-8", errors="replace") as file:
                    sys.stderr.write("".join(file.readlines()[-30:]))
                raise SystemExit(f"tools/bench: {name} failed, see {log}")

    def program(self, *names):
        path = os.path.join(self.build, "benchmarks", *names)
        if not os.path.exists(path):
            raise Missing(f"{os.path.basename(path)} is not part of this tree")
        return path

    def cargo_build(self, name, manifest, target):
        """Builds a cargo project into the build directory; @return the folder of its programs."""
        if shutil.which("cargo") is None:
            raise Missing("there is no cargo (https://rustup.rs)")
        if not os.path.exists(manifest):
            raise Missing(f"{os.path.relpath(manifest, ROOT)} is not part of this tree")
        self.say(f"building {name} with cargo")
        log = self.log("cargo-" + target)
        folder = os.path.join(self.build, target)
        code = self.run(["cargo", "build", "--release", "--locked", "-j", str(self.jobs),
                         "--manifest-path", manifest, "--target-dir", folder], log)
        if code != 0:
            raise Missing(f"cargo could not build it (is the registry reachable?): {last_line(log)}")
        return os.path.join(folder, "release")

    # Running

    def measure(self, name, words, env=None, cwd=None):
        """Runs a program that takes --dir, --json and --quick; @return its document."""
        json_path = os.path.join(self.logs, name + ".json")
        log = self.log(name)
        if os.path.exists(json_path):
            os.remove(json_path)
        words = [*words, "--dir", self.directory, "--json", json_path]
        if self.quick:
            words.append("--quick")
        code = self.run(words, log, measured=True, env=env, cwd=cwd)
        if not os.path.exists(json_path):
            raise Missing(f"{os.path.basename(words[0])} failed (exit {code}): {last_line(log)}")
        with open(json_path, encoding="utf-8") as file:
            document = json.load(file)
        if code != 0:
            document.setdefault("notes", []).append(
                f"{os.path.basename(words[0])}: not run: a part of it, exit {code}, see the errors "
                "of the comparisons")
        return document

    def engine(self):
        words = [self.program("engine", "bench_engine")]
        for group in ENGINE_GROUPS:
            words += ["--filter", group]
        if not self.quick and shutil.which("valgrind"):
            words.append("--instructions")
        return self.measure("engine", words)

    def peers(self):
        words = [self.program("engine", "bench_engine"), "--filter", "peers/"]
        reason = None
        try:
            folder = self.cargo_build("the crate fsys 1.1.0",
                                      os.path.join(ROOT, "benchmarks/peers/rust-fsys/Cargo.toml"),
                                      "cargo-peer")
            words += ["--crate", os.path.join(folder, "io")]
        except Missing as missing:
            reason = f"peer crate fsys 1.1.0: not run: {missing}"
        document = self.measure("peers", words)
        if reason:
            document["notes"] = [note for note in document.get("notes", [])
                                 if not note.startswith("peer crate fsys")] + [reason]
        return document

    def journal(self):
        words = [self.program("journal", "bench_journal")]
        for group in JOURNAL_GROUPS:
            words += ["--filter", group]
        return self.measure("journal", words)

    def growth(self):
        document = self.measure(
            "growth", [self.program("engine", "bench_engine"), "--filter", "growth/"])
        try:
            other = self.measure("growth-journal", [self.program("journal", "bench_journal"), "--filter", "growth/",
                                   "--no-rust"])
        except Missing as missing:
            document.setdefault("notes", []).append(f"growth of a journal: not run: {missing}")
            return document
        for key in ("goals", "curves", "notes", "comparisons"):
            document[key] = document.get(key, []) + other.get(key, [])
        return document

    def python(self):
        """The binding against asyncio's file libraries, which pip brings into an environment of
        their own: the extension belongs to the interpreter that Meson found, Debian's."""
        script = os.path.join(ROOT, "benchmarks/python/bench_python.py")
        package = os.path.join(self.build, "bindings", "python")
        if not os.path.exists(script) or not os.path.isdir(os.path.join(package, "fsys")):
            raise Missing("the Python package was not built (Debian: python3-dev, pybind11-dev)")
        peers = os.path.join(self.build, "python-peers")
        log = self.log("python-peers")
        python = os.path.join(peers, "bin", "python")
        reason = None
        if not os.path.exists(python) and self.run(
                ["/usr/bin/python3", "-m", "venv", peers], log) != 0:
            python, reason = "/usr/bin/python3", "no virtual environment (Debian: python3-venv)"
        elif self.run([python, "-m", "pip", "install", "--quiet", "aiofiles", "aiofile"], log) != 0:
            reason = f"pip could not install them: {last_line(log)}"
        samples = os.path.join(self.logs, "python.json")
        log = self.log("python")
        code = self.run([python, script, "--dir", self.directory, "--json", samples,
                         "--rounds", "6" if self.quick else "30"], log, measured=True,
                        env={"PYTHONPATH": package,
                             "LD_LIBRARY_PATH": os.path.join(self.build, "lib")})
        if code != 0:
            raise Missing(f"bench_python.py failed (exit {code}): {last_line(log)}")
        with open(samples, encoding="utf-8") as file, \
                open(log, encoding="utf-8", errors="replace") as text:
            document = figures.python_document(json.load(file), text.read())
        if reason:
            document["notes"].append(f"aiofiles, aiofile: not run: {reason}")
        return document

    def rust(self):
        """The binding's own benchmark prints text: it becomes a table."""
        manifest = os.path.join(ROOT, "bindings/rust/fsys/Cargo.toml")
        if shutil.which("cargo") is None:
            raise Missing("there is no cargo (https://rustup.rs)")
        if not os.path.exists(manifest):
            raise Missing("bindings/rust is not part of this tree")
        library = os.path.join(self.build, "lib")
        log = self.log("rust")
        code = self.run(["cargo", "bench", "--bench", "overhead", "--manifest-path", manifest,
                         "--target-dir", os.path.join(self.build, "cargo-binding"),
                         "-j", str(self.jobs), "--", "--dir", self.directory,
                         "--rounds", "31" if self.quick else "301"],
                        log, measured=True,
                        env={"FSYS_LIB_DIR": library, "LD_LIBRARY_PATH": library,
                             "FSYS_INCLUDE_DIR": os.path.join(ROOT, "include")})
        with open(log, encoding="utf-8", errors="replace") as file:
            table = figures.overhead_table(file.read())
        if code != 0 or not table["rows"]:
            raise Missing(f"cargo bench failed (exit {code}): {last_line(log)}")
        return {"tables": [table], "notes": []}


def short(word):
    """A command as another machine would type it."""
    return os.path.relpath(word, ROOT) if word.startswith(ROOT + os.sep) else word


def last_line(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else "no output"
