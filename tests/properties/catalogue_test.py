"""properties/CATALOGUE.md lists exactly what `holdfast-validate --list` does, word for word, in the same order."""

import re
import subprocess
import sys


def listed(program: str) -> list[tuple[str, ...]]:
    lines = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = []
    for head, statement in zip(lines[::2], lines[1::2]):
        name, invariants, worlds = re.fullmatch(r"(\S+)\s+\[(.*?)\] in (.*)", head).groups()
        rows.append((name, invariants, worlds, statement.strip()))
    return rows


def documented(path: str) -> list[tuple[str, ...]]:
    with open(path, encoding="utf-8") as file:
        section = file.read().split("## Properties", 1)[1].split("\n\n", 2)[1]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines()[2:]]


def main() -> int:
    program, document = sys.argv[1:]
    found, expected = documented(document), listed(program)
    for row in [row for row in expected if row not in found]:
        print(f"{document}: no row {row}")
    for row in [row for row in found if row not in expected]:
        print(f"{document}: row {row} is not in the catalogue")
    print(f"{len(expected)} properties, {len(found)} rows")
    return 0 if found == expected else 1


if __name__ == "__main__":
    sys.exit(main())
