#!/usr/bin/env bash
# holdfast-sim: exit codes, failure files that replay, bad input. Usage: sim_main_test.sh FOLDER-OF-PROGRAMS
set -uo pipefail

sim="$1/holdfast-sim"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0

# expect NAME EXIT PATTERN COMMAND...: the exit code, and a pattern in the last line of stdout and stderr together.
expect() {
  local name="$1" code="$2" pattern="$3" output status
  shift 3
  output="$("$@" 2>&1)"
  status=$?
  if ((status == code)) && tail -n 1 <<<"$output" | grep -qE -- "$pattern"; then return; fi
  failures=$((failures + 1))
  printf 'FAIL %s: exit %d, expected %d and "%s" in the last line of:\n%s\n' "$name" "$status" "$code" "$pattern" "$output"
}

expect "a healthy save passes" 0 '^PASS .*cases=20 .*seed=7 ' "$sim" run --seed 7 --cases 20
expect "a public bug is caught" 1 '^FAIL class=safety prop=S[123] .* \| holdfast sim replay one.json$' "$sim" run --workload museum-29 --seed 1 --out one.json
expect "its fixed twin passes" 0 '^PASS ' "$sim" run --workload museum-29-fixed --seed 1 --cases 200
expect "a failure file replays" 1 '^FAIL class=safety .* \| holdfast sim replay one.json$' "$sim" replay one.json
grep -q '^same events, hash ' <<<"$("$sim" replay one.json 2>&1)" || { failures=$((failures + 1)); echo "FAIL replay does not say that the events are the same"; }

"$sim" run -q --json --workload museum-29 --seed 1 --jobs 1 --out two.json >one.out 2>/dev/null
cmp -s one.json two.json || { failures=$((failures + 1)); echo "FAIL one thread and two leave different failure files"; }
python3 -c 'import json, sys; o = json.load(open("one.out")); assert o["holdfast"] == 1 and not o["ok"] and o["failure"]["file"] == "two.json", o' ||
  { failures=$((failures + 1)); echo "FAIL --json"; }

python3 - <<'END'
import json
f = json.load(open("one.json"))
f["event_hash"] = "0" * 16
json.dump(f, open("other-hash.json", "w"))
f = json.load(open("one.json"))
f["case"]["random_latency"] = True
f["case"]["decisions"] = [[9, 1000, 1]] * 5
json.dump(f, open("other-decisions.json", "w"))
f["version"] = 99
json.dump(f, open("later.json", "w"))
f = json.load(open("one.json"))
del f["case"]["faults"]
json.dump(f, open("cut.json", "w"))
END
expect "another run is told" 2 'differs from the recorded one' "$sim" replay other-hash.json
expect "a divergence is told" 2 'diverged at event [0-9]+: decision 0' "$sim" replay other-decisions.json
expect "a later version is refused" 2 'version 99' "$sim" replay later.json
expect "a damaged file is told" 2 'faults' "$sim" replay cut.json
expect "a missing file is told" 2 'open "gone.json"' "$sim" replay gone.json
expect "a seed that is none" 2 'seed "x"' "$sim" run --seed x
expect "a workload that is none" 2 'workload "x".*museum-29' "$sim" run --workload x
expect "a layout that is none" 2 'open "gone.json"' "$sim" run --layout gone.json
expect "a mutant in a build without" 2 'holdfast-sim-mutants' "$sim" run --mutant x
expect "an engine that is none" 2 'engine "x": expected fiber or thread' "$sim" run --engine x
expect "a kind that is none" 2 'kind of fault "x"' "$sim" run --kinds x
expect "a verb that is none" 2 '' "$sim" fly
expect "every single fault" 0 '^PASS ' "$sim" exhaust --workload museum-4-fixed
expect "a failure replays on the other engine" 1 '^FAIL class=safety .* \| holdfast sim replay one.json$' "$sim" replay one.json --engine thread

fibers="$("$sim" run -q --seed 5 --cases 50)" threads="$("$sim" run -q --seed 5 --cases 50 --engine thread)"
[[ $fibers == PASS* && $fibers == "$threads" ]] || { failures=$((failures + 1)); echo "FAIL the engines differ: $fibers; $threads"; }

if [[ -x $sim-mutants ]]; then
  expect "a planted bug is caught" 1 '^FAIL class=safety prop=S3 ' "$sim-mutants" run --mutant segment_writer.delete_before_publish --kinds kill_rank,power_loss --out planted.json
  expect "the healthy build hands its replay over" 1 '^FAIL class=safety prop=S3 ' "$sim" replay planted.json
fi

((failures == 0)) && echo "sim_main_test: all passed"
exit $((failures != 0))
