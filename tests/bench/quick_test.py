"""Runs `holdfast-bench sim --quick` and checks its lines: every field there, every case of these sizes there. It times nothing."""
import json
import subprocess
import sys

SIZES = ["ranks=4", "ranks=64"]  # larger ones take long under a sanitizer
FIELDS = ["bench", "case", "value", "unit", "of", "ratio", "bytes", "dtype", "command", "machine"]
RUNS = ["runs", "cpu rate", "events", "door calls"]
SAVES = ["save bytes", "save rounds", "save memory"]
CASES = {f"{what} {size}" for what in RUNS for size in SIZES} | {f"{what} ranks=64" for what in SAVES}


def main(program):
    done = subprocess.run([program, "sim", "--json", "--quick", "--only", ",".join(SIZES)], stdout=subprocess.PIPE, text=True)
    problems = [] if done.returncode == 0 else [f"exit {done.returncode}, expected 0"]
    cases = []
    for line in done.stdout.splitlines():
        figure = json.loads(line)
        cases.append(figure["case"])
        if list(figure) != FIELDS:
            problems.append(f"fields {list(figure)}, expected {FIELDS}")
        if not figure["value"] > 0 or not figure["unit"]:
            problems.append(f"{figure['case']}: {figure['value']} {figure['unit']}")
        if (figure["of"] is None) != (figure["ratio"] is None):
            problems.append(f"{figure['case']}: of {figure['of']}, ratio {figure['ratio']}")
    if sorted(cases) != sorted(CASES):
        problems.append(f"cases {sorted(cases)}, expected {sorted(CASES)}")

    unknown = subprocess.run([program, "nothing"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if unknown.returncode != 2 or "sim" not in unknown.stderr:
        problems.append(f"an unknown name: exit {unknown.returncode}, {unknown.stderr!r}, expected exit 2 and the names there are")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main(sys.argv[1]))
