"""Program code in an answer, compared by its syntax tree."""

from __future__ import annotations

import ast
import hashlib
import re
import warnings

from avengers_edge.voting.markers import split_thoughts
from avengers_edge.voting.patterns import pattern

_LARGEST = 40_000
"""Longer programs, in characters, are compared as text: the parser's memory grows with its input."""

_FENCE = pattern(
    r"^(?P<indent>[ \t]{0,24}(?:(?:[-*+>]|[0-9]{1,3}[.)])[ \t]{1,4}){0,3})"
    r"(?P<fence>```+|~~~+)[ \t]*(?P<language>[A-Za-z0-9_+#-]{0,20})[^\n]{0,80}$",
    re.MULTILINE,
)
_QUOTED = pattern(r"^[ \t]{0,24}>[ ]?", re.MULTILINE)
_TAB = 4
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_PYTHON = frozenset({"python", "py", "python3", "py3"})
_DEFINITION = pattern(r"^\s*(?:async\s+def|def|class)\s", re.MULTILINE)
_CODE_START = pattern(r"^(?:async def |def |class |import |from \w|@\w)", re.MULTILINE)


_Block = tuple[str, str]
"""A fenced block's language and its body."""


def code_in(text: str, *, truncated: bool = False, defining: str = "") -> str | None:
    """Find the program of an answer.

    Of the fenced blocks, the last Python one that defines something wins (a usage example often follows the function),
    then the last Python one, then the last. Without a fence the text itself counts, from the first line that begins a
    definition or import, if it parses. A truncated text's last, unclosed fence does not count. A block that defines the
    function named `defining` wins over all others.
    """
    blocks = _fenced(text, keep_open=not truncated)
    wanted = re.compile(rf"^\s*(?:async\s+def|def|class)\s+{re.escape(defining)}\b", re.MULTILINE)
    python = [body for language, body in blocks if language in _PYTHON]
    untagged = [body for language, body in blocks if not language]
    for bodies in (
        [body for _, body in blocks if defining and wanted.search(body)],
        [body for body in python or untagged if _DEFINITION.search(body)],
        python,
        [body for _, body in blocks],
    ):
        if bodies:
            return bodies[-1]
    if truncated or _FENCE.search(text):
        return None
    start = _CODE_START.search(text)
    for candidate in (text, text[start.start() :] if start else ""):
        tree = parse(candidate)
        # A lone name or literal, as prose may be, is no program.
        if tree and any(not isinstance(part, ast.Expr) or isinstance(part.value, ast.Call) for part in tree.body):
            return candidate.strip("\n").rstrip()
    return None


def first_block(text: str) -> str | None:
    """Find the first fenced block of an answer, in whatever language; one that was never closed is none."""
    blocks = _fenced(split_thoughts(text)[0].replace("\r\n", "\n"), keep_open=False)
    return blocks[0][1] if blocks else None


def code_key(source: str) -> str | None:
    """Hash a program so that layout, comments and docstrings do not count; other languages by their words."""
    tree = parse(source)
    canonical = (_dump(tree) if tree else None) or " ".join(source.split())
    return hashlib.sha256(canonical.encode("utf-8", "replace")).hexdigest()[:16] if canonical else None


def parse(source: str) -> ast.Module | None:
    """Parse Python; None if it is none, or is too long or too deep to parse safely."""
    if not source.strip() or len(source) > _LARGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in a model's code are not our user's concern
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parse_expression(source: str) -> ast.expr | None:
    """Parse a text that is one expression and nothing else; None if it is none."""
    tree = parse(source.strip())
    statement = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    return statement.value if isinstance(statement, ast.Expr) else None


def _dump(tree: ast.Module) -> str | None:
    try:
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        return ast.dump(tree)
    except (ValueError, RecursionError, MemoryError):  # ValueError: an integer literal too long to print
        return None


def _fenced(text: str, *, keep_open: bool) -> list[_Block]:
    blocks: list[_Block] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence["fence"].startswith(opening["fence"]) and not fence["language"]:
            blocks.append(_block(opening, text[opening.end() + 1 : fence.start()]))
            opening = None
    if opening is not None and keep_open:
        blocks.append(_block(opening, text[opening.end() + 1 :]))
    return [block for block in blocks if block[1].strip()]


def _block(opening: re.Match[str], body: str) -> _Block:
    """Take off the indentation of a block that does not begin at the margin, as in a numbered list."""
    before = opening["indent"]
    if ">" in before:
        body = _QUOTED.sub("", body)
        before = before.rpartition(">")[2].removeprefix(" ")
    lines = body.split("\n")
    indents = [_indent(line) for line in lines if line.strip()] or [0]
    width = min(indents[0], max(len(before.expandtabs(_TAB)), min(indents)))
    if width:  # what a tab leaves over stays as spaces
        lines = [" " * max(0, _indent(line) - width) + line.lstrip(" \t") for line in lines]
    return opening["language"].lower(), "\n".join(lines).rstrip()


def _indent(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(_TAB))
