"""No ordinary library holds the id of a planted bug; the mutant build holds them all; each is in the list of properties/mutants or in a file that ends with mutant_test.cc."""

import pathlib
import re
import sys


def planted(root: pathlib.Path) -> set[str]:
    sources = [path for folder in ("impl", "sim") for path in (root / folder).rglob("*.cc") if path.name != "mutate.cc"]
    return {name for path in sources for name in re.findall(r'MUTATE\("([^"]+)"', path.read_text(encoding="utf-8"))}


def main() -> int:
    root, mutants, *ordinary = [pathlib.Path(argument) for argument in sys.argv[1:]]
    ids = planted(root)
    listed = set(re.findall(r'\{"([a-z_]+\.[a-z_]+)",', (root / "properties/mutants/mutants.cc").read_text(encoding="utf-8")))
    killed = {name for test in (root / "tests").rglob("*mutant_test.cc") for name in re.findall(r'"([a-z_]+\.[a-z_]+)"', test.read_text(encoding="utf-8"))}
    wrong = [f"{name}: planted, but nothing has to catch it" for name in sorted(ids - listed - killed)]
    wrong += [f"{name}: in properties/mutants/mutants.cc, but not planted" for name in sorted(listed - ids)]
    for library in ordinary:
        data = library.read_bytes()
        wrong += [f"{library.name} holds {name}" for name in sorted(ids) if name.encode() in data]
    data = mutants.read_bytes()
    wrong += [f"{mutants.name} does not hold {name}" for name in sorted(ids) if not name.startswith(("cuda.", "nccl.", "posix.", "tcp.")) and name.encode() not in data]
    print("\n".join(wrong) or f"{len(ids)} planted bugs, none of them in {len(ordinary)} ordinary libraries")
    return 1 if wrong or not ids else 0


if __name__ == "__main__":
    sys.exit(main())
