#!/usr/bin/env python3
"""Is Holdfast a library that one can install? Installs the build into a folder, moves it, and builds and runs against it what users would:
the examples, through CMake's package and through pkg-config; each installed header alone; a project that takes Holdfast in; the workflow file.

Usage: outside_test.py --build FOLDER ... [unittest arguments]; the test outside_test passes what it needs (CMakeLists.txt).
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
options = None


def outside(*names):
    """A path below the folder of this test; an absolute name is itself."""
    return os.path.join(options.build, "outside", *names)


def execute(*words, expect=0, cwd=None, **environment):
    """Runs a program; its stdout. Anything but the expected exit code fails the test with all that it said."""
    variables = {name: value for name, value in os.environ.items() if name not in ("GITHUB_STEP_SUMMARY", "HOLDFAST_SEED")} | environment
    done = subprocess.run(words, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1800)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(words)}: exit {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}")
    return done.stdout


def fresh(*names):
    folder = outside(*names)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def configure(source, name, *more, expect=0, package=True):
    """Configures a project in outside/NAME; the folder and what CMake said."""
    folder = fresh(name)
    where = [f"-DCMAKE_PREFIX_PATH={outside('prefix')}"] if package else []
    said = subprocess.run([options.cmake, "-S", source, "-B", folder, "-G", options.generator, f"-DCMAKE_CXX_COMPILER={options.compiler}",
                           f"-DCMAKE_CXX_FLAGS={options.flags}", f"-DCMAKE_CXX_COMPILER_LAUNCHER={options.launcher}", *where, *more],
                          capture_output=True, text=True, timeout=300)
    if said.returncode != expect:
        raise AssertionError(f"configure {name}: exit {said.returncode}, expected {expect}\n{said.stdout}{said.stderr}")
    return folder, said.stdout + said.stderr


def build(source, name, *more, **named):
    folder, _ = configure(source, name, *more, **named)
    execute(options.cmake, "--build", folder, "--parallel", "2")
    return folder


def project(name, body, **files):
    """A project of a few lines; its folder."""
    folder = fresh("projects", name)
    write(os.path.join(folder, "CMakeLists.txt"), f"cmake_minimum_required(VERSION 3.20)\nproject({name} LANGUAGES CXX)\n{body}\n")
    for file, text in files.items():
        write(os.path.join(folder, file.replace("_cc", ".cc")), text)
    return folder


def setUpModule():
    """What is installed must work wherever it is moved to."""
    for folder in ("first", "prefix"):
        shutil.rmtree(outside(folder), ignore_errors=True)
    execute(options.cmake, "--install", options.build, "--prefix", outside("first"))
    os.rename(outside("first"), outside("prefix"))


class Package(unittest.TestCase):
    def test_the_installed_headers_are_those_that_the_public_ones_reach_and_name_no_path_outside(self):
        headers = installed_headers()
        for entry in ("holdfast.h", "sim.h", "testing.h", "impl/core/state_dict.h", "impl/protocol/storage_io.h"):
            self.assertIn("holdfast/" + entry, headers)
        for header in headers:
            for included in re.findall(r'^#include "([^"]+)"', read(outside("prefix", "include", header)), re.M):
                self.assertIn(included, headers, f"{header} includes {included}")
            self.assertNotRegex(read(outside("prefix", "include", header)), r'#include <(nlohmann|CLI|cuda|xxhash|rapidcheck|gtest)',
                                f"{header}: a library that the package does not ask for")

    def test_nothing_that_was_installed_names_the_source_or_the_build_folder(self):
        package = outside("prefix", "lib", "cmake", "holdfast")
        for folder in (package, outside("prefix", "lib", "pkgconfig")):
            for name in os.listdir(folder):
                self.assertNotIn(SOURCE, read(os.path.join(folder, name)), name)

    def test_the_library_needs_no_cuda(self):
        targets = read(outside("prefix", "lib", "cmake", "holdfast", "holdfast-holdfast-targets.cmake"))
        self.assertNotRegex(targets.lower(), "cuda")
        undefined = execute("nm", "--undefined-only", "--demangle", outside("prefix", "lib", "libholdfast.a"))
        self.assertNotRegex(undefined, r"\bU cu[A-Z]|__cuda")

    def test_a_later_minor_version_and_a_part_that_is_not_there_are_refused(self):
        for ask, answer in (("0.2 CONFIG REQUIRED", "version: 0.1.0"),
                            ("0.0.9 CONFIG REQUIRED", "version: 0.1.0"),
                            ("CONFIG REQUIRED COMPONENTS nccl", "this installation has no such part")):
            _, said = configure(project("refused", f"find_package(holdfast {ask})"), "refused", expect=1)
            self.assertIn(answer, said)

    def test_a_part_whose_dependency_is_missing_is_left_out_and_says_so(self):
        body = """set(CMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit ON)
find_package(holdfast 0.1.0 CONFIG REQUIRED)
foreach(part holdfast sim testing cuda)
  if(TARGET holdfast::${part})
    message(STATUS "has ${part}")
  endif()
endforeach()"""
        _, said = configure(project("left_out", body), "left_out")
        self.assertEqual(re.findall(r"has (\w+)", said), ["holdfast", "sim", "testing"])
        self.assertEqual("holdfast::cuda is left out: it needs the package CUDAToolkit" in said, options.cuda == "ON")

    def test_the_programs_run_where_they_were_put(self):
        programs = outside("prefix", "bin")
        self.assertIn("0.1.0", execute(os.path.join(programs, "holdfast"), "--version"))
        last = execute(os.path.join(programs, "holdfast"), "sim", "run", "-q", "--seed", "7", "--cases", "20").splitlines()[-1]
        self.assertRegex(last, "^PASS ")
        self.assertIn("round-trip", execute(os.path.join(programs, "holdfast-validate"), "--list"))
        self.assertIn("space-time", execute(os.path.join(programs, "holdfast-report"), "--help"))
        default = re.search(r"default: (\S+llama\S+json)", execute(os.path.join(programs, "holdfast"), "sim", "campaign", "--help")).group(1)
        self.assertEqual(os.path.normpath(default), outside("prefix", "share", "holdfast", "specs", "llama-3.1-8b.json"))


def installed_headers():
    root = outside("prefix", "include")
    return sorted(os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names if name.endswith(".h"))


class Headers(unittest.TestCase):
    def test_each_compiles_alone_in_strict_cxx20_and_leaves_no_short_macro_behind(self):
        """One translation unit a header, so that a header that leans on another's includes fails; built as a project, for the compiler's cache."""
        files = {}
        for header in installed_headers():
            files[re.sub(r"\W", "_", header) + "_cc"] = f"#include <{header}>\n"
        # TRY and CHECK are other people's names too.
        files["polite_cc"] = """#define CHECK(x) theirs
#include <holdfast/testing.h>
#include <holdfast/holdfast.h>
#if defined(TRY) || defined(MARK) || defined(MUTATE)
#error "a short macro was left behind"
#endif
#define TEXT(x) #x
#define SHOWN(x) TEXT(x)
static_assert(SHOWN(CHECK(1))[0] == 't', "CHECK is still theirs");
"""
        body = """find_package(holdfast CONFIG REQUIRED)
set(CMAKE_CXX_EXTENSIONS OFF)
file(GLOB sources *.cc)
add_library(headers OBJECT ${sources})
target_compile_options(headers PRIVATE -Wall -Wextra -pedantic-errors -Werror)
target_link_libraries(headers PRIVATE holdfast::testing)"""
        build(project("headers", body, **files), "headers")
        self.assertGreater(len(files), 40)


class Examples(unittest.TestCase):
    def check_save_and_load(self, program, folder):
        self.assertEqual(execute(program, folder), "loaded step-1000.a1: last weight 262143\n")
        self.assertEqual(execute(outside("prefix", "bin", "holdfast"), "latest", folder).split()[-1].split("/")[-1], "step-1000.a1")
        execute(program, "/dev/null/no", expect=1)

    def test_save_and_load(self):
        folder = build(os.path.join(HERE, "save_and_load"), "save_and_load")
        self.check_save_and_load(os.path.join(folder, "save_and_load"), os.path.join(folder, "checkpoints"))

    def test_save_and_load_with_pkg_config_and_nothing_else(self):
        folder = fresh("pkg_config")
        path = outside("prefix", "lib", "pkgconfig")
        self.assertEqual(execute("pkg-config", "--modversion", "holdfast", PKG_CONFIG_PATH=path), "0.1.0\n")
        flags = execute("pkg-config", "--cflags", "--libs", "holdfast", PKG_CONFIG_PATH=path).split()
        program = os.path.join(folder, "save_and_load")
        execute(options.compiler, "-std=c++20", *options.flags.split(), os.path.join(HERE, "save_and_load", "save_and_load.cc"), "-o", program, *flags)
        self.check_save_and_load(program, os.path.join(folder, "checkpoints"))

    def test_storage_writer(self):
        folder = build(os.path.join(HERE, "storage_writer"), "storage_writer")
        said = execute(os.path.join(folder, "storage_writer"), os.path.join(folder, "empty"))
        self.assertEqual(said.splitlines()[:2], ["saved by 2 ranks as counts@[0,0] counts@[3,0]", "loaded by 1 rank: 0 to 23"])
        self.assertRegex(said.splitlines()[2], r'^after a flipped bit: .*blob "counts@\[0,0\]": 48 bytes with another digest')
        self.assertEqual(os.listdir(os.path.join(folder, "empty")), [])

    def test_own_save_in_simulator(self):
        folder = build(os.path.join(HERE, "own_save_in_simulator"), "own_save_in_simulator")
        program = os.path.join(folder, "own_save_in_simulator")
        found = execute(program, "naive", "--seed", "7", "--junit", "naive.xml", "--summary", "naive.md", expect=1, cwd=folder)
        self.assertRegex(found.splitlines()[-1], r"^FAIL class=safety prop=S[123] .* \| .*own_save_in_simulator naive --seed 7 --case \d+$")
        self.assertIn("Power is lost", found)
        self.assertRegex(read(os.path.join(folder, "naive.xml")), r'<testsuites name="naive" tests="\d+" failures="[1-9]')
        self.assertIn("own&#95;save&#95;in&#95;simulator naive --seed 7 --case", read(os.path.join(folder, "naive.md")))

        replay = re.search(r"Replay: (.*)", found).group(1)
        again = execute(*replay.split(), expect=1, cwd=folder)
        told = re.search(r"^safety .*?^Shrunk", found, re.M | re.S).group()
        self.assertIn(told, again)
        self.assertEqual(execute(*replay.split(), expect=1, cwd=folder), again)

        self.assertRegex(execute(program, "careful", "--seed", "7", cwd=folder).splitlines()[-1], "^PASS careful: 1,000 runs, .* seed 7$")
        self.assertRegex(execute(program, "careful", "--exhaust", cwd=folder).splitlines()[-1], "^PASS careful: ")
        for wrong in (["none"], [], ["naive", "--seed", "x"], ["naive", "--kinds", "x"], ["naive", "--case", "1000"],
                      ["careful", "--cases", "1", "--junit", "/dev/null/no/junit.xml"]):
            execute(program, *wrong, expect=2, cwd=folder)

    def test_the_step_summary_is_appended_and_never_too_long_for_github(self):
        program = outside("own_save_in_simulator", "own_save_in_simulator")
        if not os.path.exists(program):
            build(os.path.join(HERE, "own_save_in_simulator"), "own_save_in_simulator")
        page = outside("summary.md")
        write(page, "what stood there\n")
        execute(program, "careful", "--cases", "5", GITHUB_STEP_SUMMARY=page)
        self.assertRegex(read(page), r"^what stood there\n## .* careful\n")
        for there, expect in ((2**20 - 4000, 0), (2**20 - 1000, 2)):
            write(page, "x" * there)
            execute(program, "careful", "--cases", "5", expect=expect, GITHUB_STEP_SUMMARY=page)
            self.assertLess(os.path.getsize(page), 2**20)

    def test_the_cuda_device(self):
        if options.cuda != "ON":
            self.skipTest("this build has no CUDA back end")
        main = """#include <holdfast/cuda.h>
int main() {
  const auto count = holdfast::backend::cuda_device_count();
  if (!count) fmt::print("{}\\n", to_string(count.error().code));
  else fmt::print("{}\\n", *count >= 1 ? "gpu" : "none");
}"""
        body = """find_package(holdfast CONFIG REQUIRED COMPONENTS cuda)
add_executable(gpu main.cc)
target_link_libraries(gpu PRIVATE holdfast::cuda)"""
        folder = build(project("gpu", body, main_cc=main), "gpu", f"-DCUDAToolkit_ROOT={os.path.dirname(os.path.dirname(options.nvcc))}")
        self.assertIn(execute(os.path.join(folder, "gpu")), ("gpu\n", "unsupported\n"))


class TakenIn(unittest.TestCase):
    def test_a_project_that_adds_the_source_gets_the_libraries_and_nothing_else(self):
        """With the flags of this build, in a folder as deep as it is, so that the compiler's cache has its objects."""
        body = f"""set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_subdirectory({SOURCE} holdfast EXCLUDE_FROM_ALL)
foreach(target holdfast-sim core_test holdfast_backend.cuda)
  if(TARGET ${{target}})
    message(FATAL_ERROR "${{target}} was not asked for")
  endif()
endforeach()
foreach(target holdfast sim testing)
  if(NOT TARGET holdfast::${{target}})
    message(FATAL_ERROR "holdfast::${{target}} is missing")
  endif()
endforeach()
add_executable(save_and_load {HERE}/save_and_load/save_and_load.cc)
target_link_libraries(save_and_load PRIVATE holdfast::holdfast)"""
        folder = build(project("taken_in", body), options.build + ".taken_in", "-DHOLDFAST_WERROR=ON", "-DCMAKE_BUILD_TYPE=None", package=False)
        said = execute(os.path.join(folder, "save_and_load"), os.path.join(folder, "checkpoints"))
        self.assertEqual(said, "loaded step-1000.a1: last weight 262143\n")


def steps(workflow):
    """name -> commands of the workflow's `run:` steps."""
    found = {}
    for match in re.finditer(r"^( +)- name: (.+)\n(?:\1  (?!run:).*\n)*\1  run:(?: \|((?:\n\1    .*)+)| (.+))", workflow, re.M):
        found[match.group(2)] = match.group(4) or "\n".join(line.strip() for line in match.group(3).splitlines())
    return found


class Workflow(unittest.TestCase):
    def test_the_steps_of_the_workflow_file_work_as_they_stand_there(self):
        workflow = read(os.path.join(HERE, "ci", "holdfast.yml"))
        commands = steps(workflow)
        self.assertEqual(list(commands), ["packages", "install holdfast", "build", "random faults", "every single fault"])
        folder = fresh("workflow")
        shutil.copytree(os.path.join(HERE, "own_save_in_simulator"), folder, dirs_exist_ok=True)
        environment = dict(re.findall(r"^  (PROGRAM|WORKLOAD): (\S+)", workflow, re.M)) | {
            "CXX": options.compiler, "CXXFLAGS": options.flags, "CMAKE_CXX_COMPILER_LAUNCHER": options.launcher, "GITHUB_SHA": "c0ffee" + "0" * 34}
        page = os.path.join(folder, "page.md")
        for name in ("build", "random faults", "every single fault"):
            command = commands[name].replace("/opt/holdfast", outside("prefix"))
            execute("bash", "-e", "-c", command, cwd=folder, GITHUB_STEP_SUMMARY=page, **environment)
        self.assertIn("5,000", read(page))
        for report in ("random.xml", "single.xml"):
            self.assertIn('failures="0"', read(os.path.join(folder, "junit", report)))

    def test_the_packages_that_it_installs_are_enough(self):
        """They are those that ./run installs for the library; tests/bare.sh tries those on a bare system."""
        asked = set(re.findall(r"[a-z0-9.+-]+-dev\b", steps(read(os.path.join(HERE, "ci", "holdfast.yml")))["packages"]))
        ours = set(re.findall(r"lib[a-z0-9.+-]+-dev\b|nlohmann-json3-dev", re.search(r"build_packages=\(.*?\)", read(os.path.join(SOURCE, "run")), re.S).group()))
        self.assertEqual(asked, ours - {"librapidcheck-dev", "libgtest-dev"})


def main():
    global options
    parser = argparse.ArgumentParser()
    for name in ("build", "cmake", "generator", "compiler"):
        parser.add_argument("--" + name, required=True)
    for name in ("flags", "launcher", "nvcc"):
        parser.add_argument("--" + name, default="")
    parser.add_argument("--cuda", choices=("ON", "OFF"), default="OFF")
    options, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
