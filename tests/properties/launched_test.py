#!/usr/bin/env python3
"""World launched: processes that a launcher started check together, and rank 0 tells.

Usage: launched_test.py HOLDFAST-VALIDATE
"""
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

validate, = sys.argv[1:2]
few = ("--property", "reshard", "--cases", "5")


def start(words, variables):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "OMPI_", "SLURM_", "PMI"))}
    return subprocess.Popen([validate, "--world", "launched", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=clean | variables)


def ends(processes):
    """By rank: exit code and all that was printed."""
    told = [process.communicate(timeout=200) for process in processes]
    return [(process.returncode, out, error) for process, (out, error) in zip(processes, told)]


class Launched(unittest.TestCase):
    def variables(self, rank, ranks, port):
        return {"HOLDFAST_RANK": str(rank), "HOLDFAST_WORLD_SIZE": str(ranks), "HOLDFAST_MASTER_ADDR": "127.0.0.1", "HOLDFAST_PORT": str(port)}

    def launch(self, ranks, words_of):
        port = random.randrange(20000, 23000)
        return [start(words_of(rank), self.variables(rank, ranks, port)) for rank in range(ranks)]

    def test_all_agree_and_rank_0_tells(self):
        told = ends(self.launch(3, lambda rank: few))
        self.assertEqual([code for code, _, _ in told], [0, 0, 0], told)
        self.assertIn("PASS world=launched properties=1 skipped=0 cases=5 seed=1", told[0][1])
        self.assertIn("ok   preflight: link", told[0][1])
        self.assertEqual([out for _, out, _ in told[1:]], ["", ""])

    def test_torchrun_variables(self):
        port = str(random.randrange(20000, 23000))
        told = ends([start(("--preflight",), {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost",
                                              "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}) for rank in range(2)])
        self.assertEqual([code for code, _, _ in told], [0, 0], told)
        self.assertIn("PASS world=launched preflight of 2 ranks: 9 steps", told[0][1])

    def test_processes_of_its_own(self):
        (code, out, error), = ends([start((*few, "--processes", "3"), {})])
        self.assertEqual(code, 0, out + error)
        self.assertEqual(out.count("PASS "), 1, out)

    def test_processes_asked_for_different_things(self):
        told = ends(self.launch(2, lambda rank: (*few, "--seed", str(rank + 5))))
        self.assertEqual([code for code, _, _ in told], [2, 2], told)
        for _, _, error in told:
            self.assertRegex(error, r'rank 1 was asked for ".*--seed 6", rank 0 for ".*--seed 5"; expected the same')

    def test_one_that_dies_ends_all_and_is_named(self):
        processes = self.launch(3, lambda rank: ("--property", "reshard", "--cases", "1000000"))
        time.sleep(3)
        processes[1].send_signal(signal.SIGKILL)
        told = ends(processes)
        self.assertEqual([code for code, _, _ in told], [1, -signal.SIGKILL, 1], told)
        self.assertRegex(told[0][1], r"FAIL world=launched prop=reshard the processes cannot go on together: process of rank 1|rank 1")

    def test_nobody_launched_it(self):
        (code, _, error), = ends([start(few, {})])
        self.assertEqual(code, 2)
        self.assertIn("world launched: this process is alone; expected a launcher (torchrun, srun, mpirun, HOLDFAST_RANK) or --processes", error)

    def test_a_folder_of_the_users_is_left_as_it_was(self):
        with tempfile.TemporaryDirectory() as folder:
            kept = os.path.join(folder, "thesis")
            with open(kept, "w", encoding="utf-8") as file:
                file.write("years of work")
            (code, out, error), = ends([start((*few, "--processes", "2", "--folder", folder), {})])
            self.assertEqual(code, 0, out + error)
            self.assertEqual(os.listdir(folder), ["thesis"])

    def test_a_folder_that_cannot_be_made(self):
        (code, _, error), = ends([start((*few, "--processes", "2", "--folder", "/proc/nothing"), {})])
        self.assertEqual(code, 2)
        self.assertIn('make the folder "/proc/nothing": ', error)

    def test_one_process(self):
        (code, out, error), = ends([start(("--processes", "1", "--cases", "3"), {})])
        self.assertEqual(code, 0, out + error)
        self.assertIn("skip key-origins        needs 2 ranks", out)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
