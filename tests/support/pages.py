"""The pages of the documentation, and what is in them: code blocks, commands, links, anchors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
GENERATED = ("docs/cli.md", "docs/settings.md")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = frozenset("<>|")


def blocks(page, language):
    """List the texts of a page's code blocks in a language."""
    return [text for kind, text in _BLOCK.findall(PAGES[page]) if kind == language]


def prose(page):
    """Return a page without its code blocks."""
    return _BLOCK.sub("", PAGES[page])


def commands(page):
    """List the command lines of a page's consoles, without the prompt; a line that ends in a backslash goes on."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in text.splitlines() if line.startswith("$ ")]


def avengers_words(line):
    """Split a call of `avengers` into its words, and the files that it reads from and writes to; None if it is none."""
    if inner := re.fullmatch(r'eval "\$\((avengers .*)\)"', line):
        line = inner[1]
    words = shlex.split(line.partition(" | ")[0])
    if words[:1] != ["avengers"]:
        return None
    given, written = None, None
    for mark in _SHELL & set(words):
        at = words.index(mark)
        if mark == "<":
            given = words[at + 1]
        else:
            written = words[at + 1]
        del words[at : at + 2]
    return words[1:], given, written


def anchors(text):
    """List the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
