"""One finding of the tidy rules, and small helpers that they share."""
import re
from typing import NamedTuple


class Finding(NamedTuple):
    file: str
    line: int
    text: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.text}"


CPP = (".h", ".cc", ".cu", ".cuh")


def is_cpp(file):
    return file.endswith(CPP)


def blanked(match):
    return re.sub(r'[^\n]', " ", match.group())


def code_of(text):
    """C++ text with comments and the insides of literals blanked out, lines kept."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blanked, text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def includes(text):
    """(path, is_quoted, line) of each #include."""
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', text, re.M):
        yield match.group(2), match.group(1) == '"', line_of(text, match.start())
