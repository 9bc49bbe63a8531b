#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Builds the Doxygen site and checks it.

usage: check_site.py DOXYGEN DOXYFILE OUTPUT MAP

No warning; every function of the version script is described; no link within the site is broken.
"""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree


class Page(html.parser.HTMLParser):
    """The link targets of one page, and the anchors it offers."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors = set(), set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        for name in ("id", "name"):
            if attrs.get(name):
                self.anchors.add(attrs[name])
        for name in ("href", "src"):
            if attrs.get(name):
                self.links.add(attrs[name])


def read_site(folder):
    pages = {}
    for name in os.listdir(folder):
        if name.endswith(".html"):
            page = Page()
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                page.feed(file.read())
            pages[name] = page
    return pages


def broken_links(folder, pages):
    for name, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlparse(link)
            if url.scheme or link.startswith("javascript:"):
                continue
            target = urllib.parse.unquote(url.path) or name
            if not os.path.exists(os.path.join(folder, target)):
                yield f"{name}: {link} does not exist"
            elif url.fragment and target in pages and url.fragment not in pages[target].anchors:
                yield f"{name}: {link}: no such place in {target}"


def main():
    doxygen, doxyfile, output, map_path = sys.argv[1:]
    # Doxygen leaves the pages of what is gone, with links to nowhere.
    shutil.rmtree(os.path.join(output, "html"), ignore_errors=True)
    run = subprocess.run([doxygen, doxyfile], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, check=False)
    if run.returncode != 0 or re.search(r"\b(warning|error):", run.stdout):
        print(run.stdout)
        return 1

    problems = []
    tags = xml.etree.ElementTree.parse(os.path.join(output, "fsys.tag"))
    described = {m.findtext("name") for m in tags.iter("member") if m.get("kind") == "function"}
    with open(map_path, encoding="utf-8") as file:
        functions = re.findall(r"\b(fsys_\w+)\s*;", file.read())
    problems += [f"{f}: not in the site" for f in functions if f not in described]

    folder = os.path.join(output, "html")
    pages = read_site(folder)
    problems += sorted(broken_links(folder, pages))
    for text in problems:
        print(text)
    print(f"{len(pages)} pages, {len(functions)} functions, {len(problems)} problems")
    return 1 if problems or not functions or len(pages) < 20 else 0


sys.exit(main())
