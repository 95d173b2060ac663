"""Rule: a command, program, path or file that a document names in code marks exists."""
import os
import re

from finding import Finding, line_of

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "STYLE.md", "BENCHMARKS.md", "CHANGELOG.md", "properties/CATALOGUE.md", "impl/format/FORMAT.md",
             "impl/protocol/README.md", "impl/cli/PLANS.md", "sim/FAULTS.md", "impl/backend/tcp/README.md", "impl/backend/posix/README.md", "properties/specs/README.md",
             "properties/parity/README.md")
MADE_BY_RUNNING = ("build/", "runs/", ".toolchain/")
# A name without a folder is a file of ours if it ends like one.
OUR_ENDINGS = (".md", ".h", ".cc", ".cu", ".py", ".sh", ".cmake")


def code_spans(text):
    """(words, line): each `span`, and each line of a fenced block that a shell would run."""
    spans = []

    def fence(match):
        if match.group(1) in ("", "sh", "bash", "console"):
            start = line_of(text, match.start())
            for i, line in enumerate(match.group(2).splitlines()):
                command = re.sub(r'^\$ ', "", re.sub(r'\s+#.*', "", line.strip()))
                if command.startswith(("./", "holdfast", "tests/", "build/release/bin/")):
                    spans.append((command, start + 1 + i))
        return re.sub(r'[^\n]', " ", match.group())

    prose = re.sub(r'^```(\w*)\n(.*?)^```', fence, text, flags=re.M | re.S)
    for match in re.finditer(r'`([^`\n]+)`', prose):
        spans.append((match.group(1), line_of(prose, match.start())))
    return spans


def string_literals(texts, folder):
    return {literal for file, text in texts.items() if file.startswith(folder) for literal in re.findall(r'"([\w-]+)"', text)}


class Names:
    """What the tree offers to name."""

    def __init__(self, texts, build):
        self.files = set(texts)
        self.folders = {folder for file in texts for folder in parents(file)}
        self.basenames = {os.path.basename(file) for file in texts}
        self.top = {file.split("/")[0] for file in texts}
        self.run_verbs = set(re.findall(r'^verb_(\w+)\(\)', texts.get("run", ""), re.M))
        self.programs = build.programs()
        self.cli_verbs = string_literals(texts, "impl/cli/")
        self.folder_of = {target.name: target.folder + "/" for target in build.targets if target.kind == "program"}
        self.literals_of = {name: string_literals(texts, folder) for name, folder in self.folder_of.items()}

    def program(self, name):
        return name in self.programs or (name.endswith("-mutants") and name.removesuffix("-mutants") in self.programs)


def parents(file):
    folder = os.path.dirname(file)
    while folder:
        yield folder
        folder = os.path.dirname(folder)


def command_problem(words, names):
    """What is wrong with a command line, or nothing."""
    first, verb = words[0], next((word for word in words[1:] if re.fullmatch(r'[a-z][\w-]*', word)), None)
    if first == "./run":
        unknown = len(words) > 1 and words[1] == verb and verb not in names.run_verbs
        return f"./run has no verb {verb}" if unknown else None
    name = os.path.basename(first)
    if not names.program(name):
        return f"no program {name}"
    if name == "holdfast" and len(words) > 1 and words[1] == verb:
        beside = f"holdfast-{verb}"
        if names.program(beside):
            inner = words[2] if len(words) > 2 and re.fullmatch(r'[a-z][\w-]*', words[2]) else None
            if inner is not None and inner not in names.literals_of[beside]:
                return f"holdfast {verb} has no verb {inner}"
        elif verb not in names.cli_verbs:
            return f"holdfast has no verb {verb}"
    return None


def path_problem(span, document, names):
    """What is wrong with a path, or nothing if it is none of ours."""
    if not re.fullmatch(r'\.?[\w][\w./+-]*', span) or span.startswith(MADE_BY_RUNNING):
        return None
    path = os.path.normpath(span)
    beside = os.path.normpath(os.path.join(os.path.dirname(document), span))
    if {path, beside} & (names.files | names.folders):
        return None
    if "/" in span and span.split("/")[0] in names.top:
        return f"no file or folder {span}"
    if "/" not in span and span.endswith(OUR_ENDINGS) and span not in OUR_ENDINGS and span not in names.basenames:
        return f"no file {span}"
    return None


def findings(texts, build):
    names = Names(texts, build)
    found = []
    for document in DOCUMENTS:
        for span, line in code_spans(texts.get(document, "")):
            words = span.split()
            if not words:
                continue
            problem = None
            is_program = re.fullmatch(r'(?:build/[\w-]+/bin/)?holdfast(?:-[a-z][a-z-]*)?', words[0])
            if words[0] == "./run" or (is_program and (len(words) > 1 or words[0] != "holdfast")):
                problem = command_problem(words, names)
            elif words[0].removeprefix("./") in names.files:
                continue
            elif len(words) == 1:
                problem = path_problem(span, document, names)
            if problem:
                found.append(Finding(document, line, f"`{span}`: {problem}; expected what the document names to exist"))
    return found
