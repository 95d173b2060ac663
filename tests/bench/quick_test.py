"""Runs `holdfast-bench NAME --quick` and checks its lines: every field there, every case of these sizes there. It times nothing."""
import json
import subprocess
import sys

SIZES = ["ranks=4", "ranks=64"]  # larger ones take long under a sanitizer
FILES = ["p=1", "p=2"]
FIELDS = ["bench", "case", "value", "unit", "of", "ratio", "bytes", "dtype", "command", "machine"]
RUNS = ["runs", "cpu rate", "events", "door calls"]
SAVES = ["save bytes", "save rounds", "save memory"]
MOVES = ["write", "read", "cpu write", "cpu read"]
READS = ["manifest", "lookup", "lookup and open", "metadata"]
PLANS = ["cold", "cold wall", "chunk", "input", "replies", "different replies", "manifest", "memory", "imbalance"]
TENSORS = ([f"layers.0.{name}" for name in ("attention.wq", "attention.wk", "attention_norm", "feed_forward.w1", "feed_forward.w2",
                                            "feed_forward.w3", "ffn_norm")] +
           [f"optimizer.{name}" for name in ("exp_avg.w1", "exp_avg.w2", "exp_avg.w3", "exp_avg_sq.w1", "exp_avg_sq.w2", "exp_avg_sq.w3",
                                             "step")])
IO = ({f"{what} {size}" for what in ("ceiling write", "save", "ceiling read", "load", "load all-or-nothing") for size in FILES} |
      {"cpu save", "cpu load", "cpu load all-or-nothing", "cpu first load all-or-nothing", "cpu plain write", "digest"} |
      {"async copy", "async stall", "async first stall", "reshard 4to3"} |
      {f"{load} {what} p=2" for load in ("load", "load all-or-nothing") for what in ("alone", "shared", "speed alone", "speed shared")} | {f"reshard 4to3 {name}" for name in TENSORS})
BENCHES = {
    "format": ([], {f"{what} {form}405b@16384" for what in READS for form in ["", "enumerated "]}
               | {"manifest unshared 405b@16384", "encode 405b@131072", "segment header tensors=1000"}),
    "plan": ([], {f"{what} 405b@{ranks}" for what in PLANS for ranks in [8960, 16384, 131072]}
             | {f"{what} 405b@16384" for what in ["warm", "warm coordinator"]} | {"across boxes=50000", "across items boxes=50000", "listed chunk ranks=512"}
             | {"transfer ranks=256", "transfer moves ranks=256"}),
    "sim": (SIZES, {f"{what} {size}" for what in RUNS for size in SIZES} | {f"{what} ranks=64" for what in SAVES}),
    "io": (FILES + ["4to3", "shared p=2"], IO),
    "storage": (FILES, {f"{what} {size}" for what in MOVES for size in FILES}),
}
# A system where there is nothing to measure says so; that it does is all there is to test then.
REFUSALS = ["I/O ceiling: io_uring: ", "I/O ceiling: /var/tmp/"]


def check(program, bench, sizes, expected):
    command = [program, bench, "--json", "--quick"] + (["--only", ",".join(sizes)] if sizes else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == 1 and bench in ("io", "storage") and any(refusal in done.stderr for refusal in REFUSALS):
        print(f"{bench}: nothing to measure here: {done.stderr.strip()}")
        return []
    problems = [] if done.returncode == 0 else [f"{bench}: exit {done.returncode}, expected 0: {done.stderr}"]
    cases = []
    for line in done.stdout.splitlines():
        figure = json.loads(line)
        cases.append(figure["case"])
        if list(figure) != FIELDS:
            problems.append(f"fields {list(figure)}, expected {FIELDS}")
        if not (figure["value"] > 0 or figure["case"] == "digest") or not figure["unit"]:  # noise can make it negative
            problems.append(f"{figure['case']}: {figure['value']} {figure['unit']}")
        if (figure["of"] is None) != (figure["ratio"] is None):
            problems.append(f"{figure['case']}: of {figure['of']}, ratio {figure['ratio']}")
    cases = [case for case in cases if not case.startswith("peer pytorch")]  # where PyTorch is installed
    if sorted(cases) != sorted(expected):
        problems.append(f"{bench}: cases {sorted(cases)}, expected {sorted(expected)}")
    return problems


def main(program):
    problems = []
    for bench, (sizes, cases) in BENCHES.items():
        problems += check(program, bench, sizes, cases)
    unknown = subprocess.run([program, "nothing"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if unknown.returncode != 2 or "sim" not in unknown.stderr:
        problems.append(f"an unknown name: exit {unknown.returncode}, {unknown.stderr!r}, expected exit 2 and the names there are")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main(sys.argv[1]))
