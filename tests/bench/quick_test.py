"""Runs `holdfast-bench NAME --quick` and checks its lines: every field there, every case of these sizes there. It times nothing."""
import json
import subprocess
import sys

SIZES = ["ranks=4", "ranks=64"]  # larger ones take long under a sanitizer
FIELDS = ["bench", "case", "value", "unit", "of", "ratio", "bytes", "dtype", "command", "machine"]
RUNS = ["runs", "cpu rate", "events", "door calls"]
SAVES = ["save bytes", "save rounds", "save memory"]
READS = ["manifest", "lookup", "lookup and open", "metadata"]
CASES = {
    "sim": {f"{what} {size}" for what in RUNS for size in SIZES} | {f"{what} ranks=64" for what in SAVES},
    "format": {f"{what} {form}405b@16384" for what in READS for form in ["", "enumerated "]}
    | {"manifest unshared 405b@16384", "encode 405b@131072", "segment header tensors=1000"},
}


def check(program, name, only):
    command = [program, name, "--json", "--quick"] + (["--only", ",".join(only)] if only else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    problems = [] if done.returncode == 0 else [f"{name}: exit {done.returncode}, expected 0"]
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
    if sorted(cases) != sorted(CASES[name]):
        problems.append(f"{name}: cases {sorted(cases)}, expected {sorted(CASES[name])}")
    return problems


def main(program):
    problems = check(program, "sim", SIZES) + check(program, "format", [])
    unknown = subprocess.run([program, "nothing"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if unknown.returncode != 2 or "sim" not in unknown.stderr:
        problems.append(f"an unknown name: exit {unknown.returncode}, {unknown.stderr!r}, expected exit 2 and the names there are")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main(sys.argv[1]))
