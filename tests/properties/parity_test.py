#!/usr/bin/env python3
"""One scenario comes to the same in every world: outcomes, maps of failed ranks, bytes on disk, digests. A planted bug in one world is named.

Usage: parity_test.py SCENARIOS HOLDFAST-VALIDATE HOLDFAST-VALIDATE-MUTANTS [HOLDFAST-VALIDATE-SIMGPU HOLDFAST-VALIDATE-SIMGPU-MUTANTS]
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

folder, validate, mutants, *simgpu = sys.argv[1:]
WORLDS = [("sim",), ("sim", "--engine", "thread"), ("threads",), ("procs",)]
SEED, CASES, RANKS = "3", "12", "4"


def run(program, *words, expect=0):
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=500)
    if done.returncode != expect:
        raise AssertionError(f"{words}: exit {done.returncode}, expected {expect}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def ranks_in(text):
    """Of "0-1,3"."""
    ends = [part.split("-") for part in text.split(",")]
    return [str(rank) for first, *last in ends for rank in range(int(first), int((last or [first])[0]) + 1)]


def read(path):
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


class Parity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kept = tempfile.TemporaryDirectory()
        cls.addClassCleanup(kept.cleanup)
        cls.kept = kept.name

    def outcome(self, name, program, *words):
        path = os.path.join(self.kept, name + ".json")
        if not os.path.exists(path):
            done = run(program, *words, "--json")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(done.stdout)
        return path

    def everywhere(self, name, *words):
        """The files of outcomes of one scenario, or of drawn ones, in every world there is."""
        worlds = [(validate, world) for world in WORLDS] + [(program, ("simgpu",)) for program in simgpu[:1]]
        return [self.outcome(f"{name} {' '.join(world)}", program, "--world", *world, *words) for program, world in worlds]

    def all_equal(self, name, *words):
        outcomes = self.everywhere(name, *words)
        said = run(validate, "--compare-parity", *outcomes).stdout
        self.assertRegex(said, rf"^PASS worlds={len(outcomes)} ")
        return [read(path) for path in outcomes]

    def test_the_shipped_scenarios_come_to_the_same_everywhere(self):
        for name in ("every_act", "none_intact"):
            self.all_equal(name, "--parity", os.path.join(folder, name + ".json"))

    def test_drawn_scenarios_come_to_the_same_everywhere(self):
        outcomes = self.all_equal("drawn", "--parity-seed", SEED, "--cases", CASES, "--ranks", RANKS)
        runs = outcomes[0]["runs"]
        self.assertEqual(len(runs), int(CASES))
        told = [rank for run in runs for act in run["acts"] for rank in act["ranks"]]
        self.assertTrue(any("failed" in rank for rank in told))
        self.assertTrue(any(rank.get("skipped") for rank in told), "no load fell back")

    def test_every_act_does_what_it_is_there_for(self):
        """What is equal everywhere could be equally empty."""
        acts = read(self.everywhere("every_act", "--parity", os.path.join(folder, "every_act.json"))[0])["runs"][0]["acts"]
        saved = {}  # digests by directory
        for act in acts:
            for rank, told in enumerate(act["ranks"]):
                if "committed" in told and isinstance(told["committed"], str):
                    saved[told["committed"]] = act["digests"]
                if "loaded" in told:
                    self.assertEqual(act["digests"], saved[told["loaded"]], act["act"])
                named = re.search(r"while (\w+) fails on ranks? ([\d,-]+)", act["act"])
                if "failed" in told and named and "streamed" not in act["act"]:  # another's reader is refused there
                    ranks = told["failed"]["ranks"]
                    self.assertEqual(sorted(ranks, key=int), ranks_in(named[2]), act["act"])
                    for failed in ranks:
                        self.assertEqual(ranks[failed], {"code": "injected", "message": f"{named[1]} fails on rank {failed} on purpose"})
            self.assertNotIn("conflicts", act)
            self.assertEqual(act["problems"], [])
        kinds = [{key for told in act["ranks"] for key in told} for act in acts]
        self.assertEqual(sum("committed" in kind and "newest" not in kind for kind in kinds), 4)
        self.assertEqual(sum("failed" in kind for kind in kinds), 16)
        self.assertEqual(sum("loaded" in kind for kind in kinds), 7)
        self.assertTrue(any(told.get("skipped") for act in acts for told in act["ranks"]), "no load fell back")
        self.assertTrue(any(told.get("findings") for act in acts for told in act["ranks"]), "verify found nothing")

    def differs(self, program, world, mutant, place, scenario="every_act"):
        """The outcome with a planted bug, compared with the ordinary one."""
        words = ("--parity", os.path.join(folder, scenario + ".json"))
        healthy = self.outcome(f"{scenario} {world}", validate if world != "simgpu" else simgpu[0], "--world", world, *words)
        sick = self.outcome(mutant, program, "--world", world, "--mutant", mutant, *words)
        page = os.path.join(self.kept, mutant + ".html")
        said = run(validate, "--compare-parity", healthy, sick, "--html", page, expect=1).stdout
        self.assertRegex(said, place)
        self.assertRegex(said.splitlines()[-1], r"^FAIL acts=\d+ differ=\d+ first: every act, act \d+, ")
        with open(page, encoding="utf-8") as stream:
            self.assertIn(f"{world} with the mutant {mutant}", stream.read())

    def test_a_planted_bug_is_a_difference_and_named(self):
        for mutant, place in (
                ("comm.drop_one_failed_rank", r"while prepare_local_plan fails on ranks 0,2: ranks/0/failed/ranks/\d: "),
                ("plan.dedup_unbalanced", r"save step 1000 of four, version 1: files/step-1000.a1/MANIFEST/digest: \w{32} in sim; \w{32} in sim with the mutant"),
                ("plan.storage_offset_is_global", r"load into three: ")):
            with self.subTest(mutant=mutant):
                self.differs(mutants, "sim", mutant, place)

    @unittest.skipUnless(len(simgpu) == 2, "built without CUDA")
    def test_a_bug_planted_in_the_device_is_a_difference_and_named(self):
        self.differs(simgpu[1], "simgpu", "cuda.digest_of_wrong_range", r"save step 1000 of four, version 1: ")

    def test_one_changed_digest_is_found(self):
        path = self.outcome("every_act sim", validate, "--world", "sim", "--parity", os.path.join(folder, "every_act.json"))
        changed = read(path)
        changed["world"] = "elsewhere"
        changed["runs"][0]["acts"][2]["digests"]["norm"] = "0:0"
        del changed["runs"][0]["acts"][1]["files"]["latest"]
        other = os.path.join(self.kept, "changed.json")
        with open(other, "w", encoding="utf-8") as stream:
            json.dump(changed, stream)
        done = run(validate, "--compare-parity", path, other, "--json", expect=1)
        differences = json.loads(done.stdout)["differences"]
        self.assertEqual([(one["act"], one["place"], one["values"][1]) for one in differences],
                         [("act 2, save step 1000 of four, version 1", "files/latest", "(absent)"), ("act 3, load into three", "digests/norm", "0:0")])

    def test_what_cannot_be_compared_is_no_verdict(self):
        one, other = (self.outcome(f"{name} sim", validate, "--world", "sim", "--parity", os.path.join(folder, name + ".json"))
                      for name in ("every_act", "none_intact"))
        self.assertIn("compare: run 0 of sim", run(validate, "--compare-parity", one, other, expect=2).stderr)
        self.assertIn('open "/nowhere.json": ', run(validate, "--compare-parity", one, "/nowhere.json", expect=2).stderr)
        scenario = os.path.join(folder, "every_act.json")
        self.assertIn(f'outcome "{scenario}": "format" is "holdfast.parity.scenario"; expected "holdfast.parity.outcome"',
                      run(validate, "--compare-parity", one, scenario, expect=2).stderr)
        self.assertIn(f'scenario "{one}": "format" is "holdfast.parity.outcome"; expected "holdfast.parity.scenario"',
                      run(validate, "--parity", one, expect=2).stderr)
        run(validate, "--compare-parity", one, expect=2)
        run(validate, "--parity", scenario, "--property", "round-trip", expect=2)
        run(validate, "--html", "page.html", expect=2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
