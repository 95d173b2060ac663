#!/usr/bin/env python3
"""Checks what prose cannot: who includes whom, what pure code must not call, that every source is built, that what a document names exists.

Usage: tidy.py ROOT. Each finding is a line `file:line: found; expected`. Exit 0: none, 1: some, 2: ROOT is no source tree.
"""
import os
import sys

import arrows
import documents
import sources
from cmake_lists import read_build

SKIPPED_FOLDERS = {".git", "build", "runs", ".toolchain", "__pycache__", ".cache", ".vscode", ".idea"}


def tree(root):
    """Every file of the source tree, relative to the root, in a fixed order."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        found += [os.path.normpath(os.path.join(os.path.relpath(folder, root), name)) for name in sorted(files)]
    return found


def check(root):
    files = tree(root)
    texts = {}
    for file in files:
        with open(os.path.join(root, file), encoding="utf-8", errors="replace") as stream:
            texts[file] = stream.read()
    build = read_build(root, files)
    return sorted(set(arrows.findings(texts, build) + sources.findings(texts, build) + documents.findings(texts, build)))


def main(arguments):
    if len(arguments) != 1 or not os.path.isfile(os.path.join(arguments[0], "CMakeLists.txt")):
        print("usage: tidy.py ROOT, a folder with CMakeLists.txt", file=sys.stderr)
        return 2
    found = check(arguments[0])
    for finding in found:
        print(finding)
    print(f"tidy: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
