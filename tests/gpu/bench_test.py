#!/usr/bin/env python3
"""`holdfast-bench-gpu gpu`: every case is there on the simulated runtime; without a GPU the real one says so and measures nothing.

Usage: bench_test.py HOLDFAST-BENCH-SIMGPU HOLDFAST-BENCH-GPU
"""
import json
import subprocess
import sys

CASES = {"ceiling copy in", "ceiling copy out", "ceiling copy within", "digest F32", "digest for the aim", "digest BF16", "digest F8_E4M3",
         "pack columns", "snapshot", "snapshot without digest", "snapshot for the aim", "pin staging", "stage", "stage 20 tensors of 64",
         "stage a small tensor", "save to tmpfs", "load from tmpfs", "async_save to a snapshot", "async_save to staging"}


def run(program, *words):
    return subprocess.run([program, "gpu", "--json", *words], capture_output=True, text=True, timeout=300)


simulated = run(sys.argv[1], "--quick")
cases = [json.loads(line)["case"] for line in simulated.stdout.splitlines()]
assert simulated.returncode == 0, simulated
assert sorted(cases) == sorted(CASES), f"cases {cases}, expected {sorted(CASES)}"

real = run(sys.argv[2], "--quick")
if real.returncode != 0:
    assert (real.returncode, real.stdout) == (2, ""), real
    assert real.stderr.startswith("SKIPPED gpu: cudaGetDeviceCount: no GPU here: "), real
    print(real.stderr.strip())
