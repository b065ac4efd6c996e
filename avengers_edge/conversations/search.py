"""Words looked for in what was said: through the full-text index, or by reading everything where it cannot help."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator

from avengers_edge.conversations.values import one_line, valid_unicode
from avengers_edge.records import Role
from avengers_edge.records.basics import require

_AROUND = 32
_MOST_FOLDED = 100_000
_MOST_WORDS, _LONGEST_WORD = 32, 200
# Thai, Lao, Burmese, Khmer, Chinese and Japanese are written without spaces, so their words are not in the index.
_SPACELESS = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0xA4CF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)

Hit = tuple[int, Role | None, str, tuple[tuple[int, int], ...]]
"""Conversation, who said it (None: its title), snippet, places of the words in it."""


def split_words(words: str) -> list[str]:
    """Split what is looked for at white space.

    Raises:
        BadRequest: it is more than anybody types.

    """
    split = valid_unicode(words).replace("\0", " ").split()
    require(len(split) <= _MOST_WORDS, f"{len(split)} words are looked for: use at most {_MOST_WORDS}")
    longest = max(map(len, split), default=0)
    require(longest <= _LONGEST_WORD, f"a word of {longest} letters is looked for: use at most {_LONGEST_WORD}")
    return split


def match_of(words: list[str]) -> str:
    """Write an FTS5 query for all of these words, the last one perhaps unfinished; every word is quoted."""
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + " *"


def is_indexable(words: list[str]) -> bool:
    """Tell whether the words can be found by the index; signs without a letter or a digit are not in it."""
    spaceless = any(low <= ord(letter) <= high for word in words for letter in word for low, high in _SPACELESS)
    return not spaceless and all(any(unicodedata.category(letter)[0] in "LN" for letter in word) for word in words)


def look_up(connection: sqlite3.Connection, words: list[str]) -> Iterator[Hit]:
    """Find turns through the index, newest first."""
    found = connection.execute(
        "SELECT turns.conversation, turns.role, turns.content FROM turn_words "
        "JOIN turns ON turns.id = turn_words.rowid WHERE turn_words MATCH ? ORDER BY turn_words.rowid DESC",
        (match_of(words),),
    )
    for conversation, role, content in found:
        yield (conversation, role, *cut_around(content, words))


def scan(connection: sqlite3.Connection, words: list[str]) -> Iterator[Hit]:
    """Find turns that contain all words anywhere, newest first; only ASCII letters are found in either case."""
    condition = " AND ".join(["content LIKE ? ESCAPE '\\'"] * len(words))
    found = connection.execute(
        f"SELECT conversation, role, content FROM turns WHERE {condition} ORDER BY id DESC", _patterns(words)
    )
    for conversation, role, content in found:
        yield (conversation, role, *cut_around(content, words))


def scan_titles(connection: sqlite3.Connection, words: list[str]) -> Iterator[Hit]:
    """Find conversations whose title contains all words, the one written last first."""
    condition = " AND ".join(["title LIKE ? ESCAPE '\\'"] * len(words))
    found = connection.execute(
        f"SELECT id, title FROM conversations WHERE {condition} ORDER BY touched DESC", _patterns(words)
    )
    for conversation, title in found:
        yield (conversation, None, *cut_around(title, words))


def cut_around(text: str, words: list[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Cut out the surroundings of the longest word, on one line, with the places of all words in it.

    FTS5 has a function for that, whose time grows with the square of the hits.
    """
    longest, lower = max(words, key=len), text.lower()
    if len(lower) == len(text) and (found := _beginning(longest).search(lower)):
        at = found.start()
    else:  # it is written with other accents, or a letter is longer in lower case
        found = _beginning(_fold(longest)).search(_fold(text[:_MOST_FOLDED]))
        at = found.start() if found else 0
    begin, end = max(0, at - _AROUND), at + 3 * _AROUND
    line = one_line(text[begin:end])
    snippet = ("…" if begin else "") + line + ("…" if end < len(text) else "")
    folded, marks = _fold(snippet), []
    for word in words:
        marks += [found.span() for found in _beginning(_fold(word)).finditer(folded)]
    return snippet, tuple(_apart(marks))


def _beginning(word: str) -> re.Pattern[str]:
    """Find a word as the beginning of one; where it begins with a sign, or words have no spaces, anywhere."""
    anywhere = not word[0].isalnum() or not is_indexable([word])
    return re.compile(("" if anywhere else r"(?<![^\W_])") + re.escape(word))


def _fold(text: str) -> str:
    """Take case and accents off, letter by letter, so that places stay the same."""
    return "".join(map(_base, text))


def _base(letter: str) -> str:
    first, *rest = tuple(unicodedata.normalize("NFD", letter))
    return (first if all(map(unicodedata.combining, rest)) else letter).lower()[:1]


def _apart(marks: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Leave out marks that begin within another one."""
    past = 0
    for begin, end in sorted(marks):
        if begin >= past:
            past = end
            yield begin, end


def _patterns(words: list[str]) -> list[str]:
    escaped = (word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") for word in words)
    return [f"%{word}%" for word in escaped]
