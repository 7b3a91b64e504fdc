"""What the checks share: the files they look at and how C text is read."""
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS = ["base", "ring", "op", "loop", "task", "io", "rt"]
C_FOLDERS = ["src", "include", "tools", "tests", "examples", "bench"]


def files(folders, suffixes=(".c", ".h")):
    """Paths relative to the root, sorted."""
    found = []
    for folder in folders:
        for path in glob.glob(os.path.join(ROOT, folder, "**", "*"), recursive=True):
            if path.endswith(suffixes) and os.path.isfile(path):
                found.append(os.path.relpath(path, ROOT))
    return sorted(found)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blank(text):
    """Keeps only the line ends of text, so that line numbers stay right."""
    return re.sub(r"[^\n]", " ", text)


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments(text, strings=True):
    """Comments become blanks; so do the insides of strings unless strings is true."""
    def replace(m):
        if m.group().startswith("/"):
            return blank(m.group())
        return m.group() if strings else '"' + blank(m.group()[1:-1]) + '"'
    return TOKEN.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def finish(problems):
    """Prints the problems, each a 'file:line: what', and ends the check."""
    for problem in problems:
        print("     " + problem)
    sys.exit(1 if problems else 0)
