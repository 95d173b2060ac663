"""Reads the CMakeLists.txt files as far as the tidy rules need it: which targets there are, what they list, what they may include."""
import itertools
import os
import re
from dataclasses import dataclass, field

KEYWORDS = {"NAME", "SOURCES", "HEADERS", "USES", "EXTERNAL", "MUTANTS"}


@dataclass
class Target:
    """One holdfast_library, holdfast_program or holdfast_test call. Paths are relative to the root."""
    kind: str
    name: str
    folder: str
    file: str
    line: int
    files: list = field(default_factory=list)
    uses: list = field(default_factory=list)


@dataclass
class Build:
    targets: list = field(default_factory=list)
    listed: set = field(default_factory=set)  # every path that any CMakeLists.txt names
    linkable: set = field(default_factory=set)  # every library of ours, also those that only carry options

    def libraries(self):
        return {target.name: target for target in self.targets if target.kind == "library"}

    def programs(self):
        return {target.name for target in self.targets if target.kind == "program"}


def commands(text):
    """(name, arguments, line) of each command of a CMake file, comments removed."""
    text = re.sub(r'#[^\n]*', lambda match: " " * len(match.group()), text)
    for match in re.finditer(r'(\w+)\s*\(', text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|[^\s()"]+', text[match.end():end - 1])]
        yield match.group(1).lower(), words, text.count("\n", 0, match.start()) + 1


def expand(word, values):
    """The values a word can take: ${name} stands for whatever set(), list(APPEND) or foreach() gave the name in the same file."""
    parts = re.split(r'\$\{(\w+)\}', word)
    choices = [[part] if i % 2 == 0 else values.get(part, ["${" + part + "}"]) for i, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def read_folder(root, folder, build):
    file = os.path.join(folder, "CMakeLists.txt")
    with open(os.path.join(root, file), encoding="utf-8") as stream:
        found = list(commands(stream.read()))
    values = {"CMAKE_CURRENT_SOURCE_DIR": ["."], "PROJECT_SOURCE_DIR": [os.path.relpath(".", folder or ".")]}
    for name, words, line in found:
        if name in ("set", "foreach") and words:
            values[words[0]] = values.get(words[0], []) + [value for word in words[1:] for value in expand(word, values)]
        elif name == "list" and len(words) > 1 and words[0].upper() == "APPEND":
            values[words[1]] = values.get(words[1], []) + words[2:]
        words = [value for word in words for value in expand(word, values)]
        build.listed |= {os.path.normpath(os.path.join(folder, word)) for word in words}
        read_plain_library(name, words, folder, file, line, build)
        kind = re.fullmatch(r'holdfast_(library|program|test)', name)
        if kind:
            build.targets += [target_of(kind.group(1), words, folder, file, line)]


def read_plain_library(command, words, folder, file, line, build):
    """A library made without holdfast_library counts if it has C++ sources. Its USES are our libraries that it links, and what it declares as
    holdfast_library itself does: in the property HOLDFAST_FOLDERS, NAME=FOLDER=USES."""
    if command == "add_library" and words[0].startswith("holdfast_"):
        build.linkable.add(words[0].removeprefix("holdfast_"))
        files = [os.path.normpath(os.path.join(folder, word)) for word in words[1:] if word.endswith((".cc", ".cu", ".h", ".cuh"))]
        if files:
            build.targets.append(Target("library", words[0].removeprefix("holdfast_"), folder, file, line, files))
        return
    name, uses = "", []
    if command == "target_link_libraries" and words[0].startswith("holdfast_"):
        name = words[0].removeprefix("holdfast_")
        uses = [word.removeprefix("holdfast_") for word in words[1:] if word.startswith("holdfast_") and word != "holdfast_warnings"]
    elif command == "set_property" and "HOLDFAST_FOLDERS" in words:
        name, _, used = words[-1].split("=")
        uses = used.split(";")
    for target in build.targets:
        if target.name == name and target.file == file:
            target.uses += uses


def target_of(kind, words, folder, file, line):
    values, keyword = {}, None
    for word in words:
        if word in KEYWORDS:
            keyword = word
        else:
            values.setdefault(keyword, []).append(word)
    listed = [os.path.normpath(os.path.join(folder, word)) for word in values.get("SOURCES", []) + values.get("HEADERS", [])]
    # properties.mutants is a folder of its own, not the mutant form of properties.
    uses = [word if word == "properties.mutants" else word.removesuffix(".mutants") for word in values.get("USES", [])]
    return Target(kind, values.get("NAME", ["?"])[0], folder, file, line, listed, uses)


def read_build(root, files):
    build = Build()
    for file in files:
        if os.path.basename(file) == "CMakeLists.txt":
            read_folder(root, os.path.dirname(file), build)
    return build
