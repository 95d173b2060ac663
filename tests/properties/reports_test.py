#!/usr/bin/env python3
"""What holdfast-validate leaves for continuous integration: JUnit XML and summaries, of properties that hold, fail and are skipped.

Usage: reports_test.py HOLDFAST-VALIDATE HOLDFAST-VALIDATE-MUTANTS
"""
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

validate, mutants = sys.argv[1:3]


def run(program, *words, expect, **environment):
    variables = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"} | environment
    done = subprocess.run([program, *words], capture_output=True, text=True, env=variables, timeout=300)
    if done.returncode != expect:
        raise AssertionError(f"{words}: exit {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


class Reports(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.junit, self.summary = (os.path.join(self.folder.name, "new", name) for name in ("junit.xml", "summary.md"))

    def only_case(self):
        suite, = xml.parse(self.junit).getroot()
        case, = suite
        return suite.attrib, case

    def test_a_property_that_holds(self):
        page = os.path.join(self.folder.name, "page.md")
        run(validate, "--world", "sim", "--property", "round-trip", "--cases", "5", "--junit", self.junit, "--summary", self.summary,
            expect=0, GITHUB_STEP_SUMMARY=page)
        suite, case = self.only_case()
        self.assertEqual((suite["name"], suite["tests"], suite["failures"]), ("holdfast-validate.sim", "1", "0"))
        self.assertEqual((case.attrib["name"], len(case)), ("round-trip", 0))
        self.assertIn("**round-trip &#91;S4 L4&#93;** 5 cases.", read(self.summary))
        self.assertEqual(read(page), read(self.summary) + "\n")

    def test_a_property_that_fails_with_its_case_and_its_command(self):
        said = run(mutants, "--mutant", "segment_writer.delete_before_publish", "--property", "crash-exhaustive", "--cases", "5", "--seed", "3",
                   "--junit", self.junit, "--summary", self.summary, expect=1)
        suite, case = self.only_case()
        self.assertEqual(suite["failures"], "1")
        failure, = case
        self.assertIn(failure.attrib["message"], said)
        replay = "holdfast-validate-mutants --mutant segment_writer.delete_before_publish --world sim --property crash-exhaustive --cases 5 --seed 3"
        self.assertTrue(failure.text.endswith("replay: " + replay), failure.text)
        self.assertIn(replay.replace("_", "&#95;"), read(self.summary))

    def test_a_property_that_is_skipped_with_the_reason(self):
        run(validate, "--world", "threads", "--property", "crash-exhaustive", "--junit", self.junit, expect=2)
        skipped, = self.only_case()[1]
        self.assertEqual((skipped.tag, skipped.attrib["message"]), ("skipped", "drives the simulator itself: its faults, crashes and decisions"))

    def test_a_report_that_cannot_be_written_is_no_good_verdict(self):
        said = run(validate, "--property", "round-trip", "--cases", "1", "--junit", "/dev/null/junit.xml", expect=2)
        self.assertIn('holdfast-validate: write "/dev/null/junit.xml": ', said)

    def test_what_makes_no_sense_together_is_refused(self):
        run(mutants, "--mutants", "--junit", self.junit, expect=2)
        self.assertIn("this build holds no mutants", run(validate, "--mutant", "x", expect=2))
        self.assertIn('mutant "x": there is none of that name', run(mutants, "--mutant", "x", expect=2))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
