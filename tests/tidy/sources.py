"""Rules on single source files: banned calls, where CUDA may be, every source built, banners, no private paths or unfinished work."""
import os
import re

from finding import CPP, Finding, code_of, includes, is_cpp, line_of

# Code that runs in the simulator as it runs in production: its time, threads and chance come through the doors only.
PURE = ("impl/core/", "impl/format/", "impl/plan/", "impl/port/", "impl/comm/", "impl/protocol/", "model/")
BANNED = [(re.compile(pattern), instead) for pattern, instead in [
    (r'\bstd::(?:jthread|thread|async|future|promise|packaged_task)\b', "Tasks and Future (impl/port/tasks.h)"),
    (r'\bstd::(?:\w*mutex|condition_variable\w*|counting_semaphore|binary_semaphore|latch|barrier)\b', "no locks: a rank's tasks meet at doors"),
    (r'\bstd::(?:random_device|mt19937\w*|default_random_engine)\b', "no chance: a decision is an argument"),
    (r'\b(?:system_clock|steady_clock|high_resolution_clock)\b', "Clock (impl/port/clock.h)"),
    (r'(?<![\w.>:])(?:std::|::)?(?:secure_)?getenv\s*\(', "an argument"),
    (r'\bthread_local\b', "an argument: a fibre may wake on another thread"),
    (r'\bstd::unordered_\w+', "std::map, std::set or a sorted vector: their order is the same in every run"),
    (r'\bstd::(?:cout|cerr|clog|cin)\b', "a returned value"),
    (r'(?<![\w.>:])(?:std::|::)?(?:time|clock|rand|srand|random|gettimeofday|clock_gettime)\s*\(', "Clock (impl/port/clock.h), or an argument"),
]]
BANNED_INCLUDES = {"thread", "mutex", "shared_mutex", "condition_variable", "future", "random", "iostream", "unordered_map", "unordered_set"}
ATOMIC_ALLOWED = ("impl/core/mark.h", "impl/core/mark.cc", "impl/core/check.cc", "impl/core/mutate.cc")

# What protocol code asks of a device only where it cannot forget something.
ORDERED = [(re.compile(r'(?:\.|->)\s*create_stream\s*\('), ("impl/protocol/trainer_work.cc",), "TrainerWork::open_stream (impl/protocol/trainer_work.h)")]

# Steps that a proof of durability stands for (impl/protocol/README.md) are called where the proof is made, or asked for, and nowhere else.
PROVED = [(re.compile(pattern), files, instead) for pattern, files, instead in [
    (r'(?:\.|->)\s*sync\s*\(', ("impl/protocol/durable.cc",), "NewFile (impl/protocol/durable.h), which gives the proof"),
    (r'(?:\.|->)\s*(?:rename|link_if_absent)\s*\(', ("impl/protocol/files.cc",), "impl/protocol/files.h, which names only what is synced"),
    (r'\bpublish_if_absent\s*\(', ("impl/protocol/files.h", "impl/protocol/files.cc", "impl/protocol/commit.cc"),
     "publish (impl/protocol/commit.h), which asks for a commit record"),
    (r'\blink_durably\s*\(', ("impl/protocol/files.h", "impl/protocol/files.cc", "impl/protocol/give_up.cc"),
     "publish (impl/protocol/commit.h), which asks for a commit record"),
]]

CUDA_INCLUDE = re.compile(r'(?:cuda\w*|nccl\w*|cooperative_groups|nvtx3/\w+|curand\w*|cub/.*|thrust/.*)(?:\.h|\.hpp|\.cuh)?$|cuda/.*')
CUDA_FOLDERS = ("impl/backend/cuda/", "impl/backend/nccl/", "sim/cuda/", "tests/gpu/")

BUILT = ("impl/", "sim/", "model/", "reports/", "properties/", "tests/")

# Spelled in parts, so that this file does not find itself.
UNFINISHED = re.compile(r'\b(?:TO' r'DO|FIX' r'ME|XX' r'X)\b')
PRIVATE = re.compile(r'(?<![\w.$}/-])/(?:wo' r'rk|ho' r'me|Us' r'ers)/[\w./-]+|(?<![\w/-])(?:\.\./)?sha' r'red/(?:design|models|probes|golden)[\w./-]*')
TEXT = CPP + (".md", ".txt", ".py", ".sh", ".cmake", ".json", ".yml", "/run", ".clang-tidy", ".clang-format")


def pure_findings(file, text):
    code = code_of(text)
    for pattern, instead in BANNED:
        for match in pattern.finditer(code):
            yield Finding(file, line_of(code, match.start()), f"{match.group().strip()} in pure or protocol code; expected {instead}")
    if file not in ATOMIC_ALLOWED:
        for match in re.finditer(r'\bstd::atomic\w*', code):
            yield Finding(file, line_of(code, match.start()), f"{match.group()} in pure or protocol code; expected plain values")
    for path, _, line in includes(text):
        if path in BANNED_INCLUDES:
            yield Finding(file, line, f"#include <{path}> in pure or protocol code; expected none of it there")


def proved_findings(file, text):
    code = code_of(text)
    for pattern, files, instead in PROVED:
        for match in pattern.finditer(code) if file not in files else ():
            yield Finding(file, line_of(code, match.start()), f"{match.group()}...) goes round a proof of durability; expected {instead}")


def ordered_findings(file, text):
    code = code_of(text)
    for pattern, files, instead in ORDERED:
        for match in pattern.finditer(code) if file not in files else ():
            yield Finding(file, line_of(code, match.start()), f"{match.group()}...) opens a stream that does not wait for the trainer; expected {instead}")


def cuda_findings(file, text):
    for path, quoted, line in includes(text):
        if not quoted and CUDA_INCLUDE.match(path):
            yield Finding(file, line, f"#include <{path}>; expected CUDA and NCCL headers only in {', '.join(CUDA_FOLDERS)}")


def banner_findings(file, text):
    lines = text.splitlines() or [""]
    if not lines[0].startswith("// "):
        yield Finding(file, 1, "a header without a banner; expected a first line `// what it is for`")
    after = next((i for i, line in enumerate(lines) if not line.startswith("//")), 0)
    if lines[after].strip() != "#pragma once":
        yield Finding(file, after + 1, "no #pragma once after the banner; expected it there")


def words_findings(file, text):
    for pattern, what in ((UNFINISHED, "unfinished work; expected it done, or an issue"), (PRIVATE, "a path of one machine; expected none")):
        for match in pattern.finditer(text):
            yield Finding(file, line_of(text, match.start()), f"{match.group()}: {what}")


def findings(texts, build):
    found = []
    for file, text in texts.items():
        if is_cpp(file):
            if file.startswith(PURE):
                found += pure_findings(file, text)
            if file.startswith("impl/protocol/"):
                found += proved_findings(file, text)
                found += ordered_findings(file, text)
            if not file.startswith(CUDA_FOLDERS):
                found += cuda_findings(file, text)
        if file.endswith((".h", ".cuh")):
            found += banner_findings(file, text)
        if file.endswith((".cc", ".cu")) and file.startswith(BUILT) and file not in build.listed:
            found.append(Finding(file, 1, f"in no CMakeLists.txt; expected {os.path.dirname(file)}/CMakeLists.txt to build it"))
        if file.endswith(TEXT) or file == "run":
            found += words_findings(file, text)
    return found
