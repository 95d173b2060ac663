"""Rule: a folder includes only what it declares (USES), declares only what ARCHITECTURE.md allows, and the arrows go down.

The allowed arrows stand in ARCHITECTURE.md, in a block fenced as ```arrows: `LINE NAME...: USED...` a row. `core` is open to everybody and
`port` from line 3 up; `backend.*` stands for every back end, `*` for everything on lower lines. Tests and programs are in no row: they use
what they declare, and nothing uses them.
"""
import os
import re
from fnmatch import fnmatchcase

from finding import Finding, includes, is_cpp, line_of

TABLE = "ARCHITECTURE.md"


class Row:
    def __init__(self, line, pattern, used):
        self.line, self.pattern, self.used = line, pattern, used


def read_table(text):
    block = re.search(r'^```arrows\n(.*?)^```', text, re.M | re.S)
    rows = []
    for line in block.group(1).splitlines() if block else []:
        match = re.fullmatch(r'\s*(\d+)\s+([^:]+?)\s*(?::\s*(.*?))?\s*', line)
        if match:
            rows += [Row(int(match.group(1)), name, (match.group(3) or "").split()) for name in match.group(2).split()]
    return rows


def row_of(rows, name):
    """The row for a name: an exact one before a pattern."""
    matching = [row for row in rows if fnmatchcase(name, row.pattern)]
    return min(matching, key=lambda row: "*" in row.pattern, default=None)


def allows(rows, row, used):
    used_row = row_of(rows, used)
    if used == "core" or (used == "port" and row.line >= 3):
        return True
    return any((pattern == "*" and used_row is not None and used_row.line < row.line) or (pattern != "*" and fnmatchcase(used, pattern))
               for pattern in row.used)


def cycle(libraries):
    """The names along a cycle of USES, or nothing."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done or name not in libraries:
            return []
        path.append(name)
        for used in libraries[name].uses:
            found = visit(used)
            if found:
                return found
        path.pop()
        done.add(name)
        return []

    for name in sorted(libraries):
        found = visit(name)
        if found:
            return found
    return []


def declared_findings(texts, build):
    rows = read_table(texts.get(TABLE, ""))
    if not rows:
        yield Finding(TABLE, 1, "no ```arrows block; expected the table of lines and arrows")
        return
    libraries = build.libraries()
    for target in build.targets:
        for used in target.uses:
            if used not in libraries and used not in build.linkable:
                yield Finding(target.file, target.line, f"{target.name} uses {used}, which is no library; expected the NAME of one")
        if target.kind != "library":
            continue
        row = row_of(rows, target.name)
        if row is None:
            if not target.folder.startswith("tests"):
                yield Finding(target.file, target.line, f"library {target.name} has no line; expected a row in the arrows of {TABLE}")
            continue
        for used in target.uses:
            if used in libraries and not allows(rows, row, used):
                yield Finding(target.file, target.line, f"{target.name} uses {used}; {TABLE} allows {' '.join(['core'] + row.used)}")
    found = cycle(libraries)
    if found:
        target = libraries[found[0]]
        yield Finding(target.file, target.line, f"{' -> '.join(found)} is a cycle; expected arrows that only go down")


def owners_of(file, build):
    """The targets a file belongs to: those that list it, else the libraries of the nearest folder above it, in tests all that is there."""
    listing = [target for target in build.targets if file in target.files]
    if listing:
        return listing
    folder = os.path.dirname(file)
    while folder:
        here = [target for target in build.targets if target.folder == folder and target.kind == "library" and not folder.startswith("tests")]
        here = here or [target for target in build.targets if target.folder == folder]
        if here:
            return here
        folder = os.path.dirname(folder)
    return []


def include_findings(texts, build):
    for file, text in texts.items():
        if not is_cpp(file):
            continue
        owners = owners_of(file, build)
        if not owners:
            continue  # no CMakeLists.txt builds it: another rule says so
        uses = {used for owner in owners for used in owner.uses} | {owner.name for owner in owners} | {"core", "port"}
        rows = read_table(texts.get(TABLE, ""))
        for owner in owners:
            row = row_of(rows, owner.name)
            if owner.kind == "library" and row is not None and row.line < 3 and "port" not in owner.uses + [owner.name]:
                uses.discard("port")
        for path, quoted, line in includes(text):
            if not quoted:
                continue
            if path not in texts:
                yield Finding(file, line, f'#include "{path}": no such file; expected a path from the root of the repository')
                continue
            included = {owner.name for owner in owners_of(path, build) if owner.kind == "library"}
            if os.path.dirname(path) == os.path.dirname(file) or included & uses:
                continue
            if not included and path.startswith("tests/") and file.startswith("tests/"):
                continue  # a helper that tests share
            if not included:
                yield Finding(file, line, f'#include "{path}": it belongs to no library; expected one that lists it')
                continue
            owner = owners[0].name
            yield Finding(file, line, f'#include "{path}" of {min(included)}; {owner} declares USES {" ".join(sorted(uses - {owner}))}')


def findings(texts, build):
    return list(declared_findings(texts, build)) + list(include_findings(texts, build))
