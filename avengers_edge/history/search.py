"""Full-text search: which titles and turns have all the words, and the snippet around them."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence

from avengers_edge.history.conversations import one_line, valid_unicode
from avengers_edge.records import Role
from avengers_edge.records.basics import require

_BEFORE, _AFTER = 32, 96
_MOST_WORDS, _LONGEST_WORD = 32, 200
# Thai, Lao, Burmese, Khmer, Chinese and Japanese are written without spaces, so their words are not in the index.
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def split_words(words: str) -> list[str]:
    """Split a search at white space.

    Raises:
        BadRequest: it has too many words, or one that is too long.

    """
    split = valid_unicode(words).replace("\0", " ").split()
    require(len(split) <= _MOST_WORDS, f"{len(split)} words are looked for: use at most {_MOST_WORDS}")
    longest = max(map(len, split), default=0)
    require(longest <= _LONGEST_WORD, f"a word of {longest} letters is looked for: use at most {_LONGEST_WORD}")
    return split


def find(connection: sqlite3.Connection, words: Sequence[str]) -> Iterator[tuple[int, Role | None, str]]:
    """Find the titles, then the turns that have all words, the newest first: conversation, role or None, text.

    Of words that are not in the index every turn is read, else only answers whose writer has not finished them; there
    the words may be anywhere, and only ASCII letters match in either case.
    """
    patterns = ["%" + re.sub(r"([%_\\])", r"\\\1", word) + "%" for word in words]
    yield from connection.execute(
        f"SELECT id, NULL, title FROM conversations WHERE {_contains('title', words)} ORDER BY touched DESC", patterns
    )
    turns = f"SELECT conversation, role, content, id FROM turns WHERE {_contains('content', words)}"
    if not _is_indexable(words):
        found = connection.execute(f"{turns} ORDER BY id DESC", patterns)
    else:
        found = connection.execute(
            "SELECT conversation, role, turns.content, turn_words.rowid AS id FROM turn_words "
            "JOIN turns ON turns.id = turn_words.rowid WHERE turn_words MATCH ? "
            f"UNION ALL {turns} AND growing ORDER BY id DESC",
            (_query(words), *patterns),
        )
    for conversation, role, content, _ in found:
        yield conversation, role, content


def snippet(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Cut out the surroundings of the longest word, on one line, with the ranges of all words in it.

    FTS5's own function takes a time that grows with the square of the matches.
    """
    found = _beginnings([max(words, key=len)]).search(_fold(text))
    at = found.start() if found else 0  # the index may fold a letter that we do not
    begin, end = max(0, at - _BEFORE), at + _AFTER
    shown = "…" * (begin > 0) + one_line(text[begin:end]) + "…" * (end < len(text))
    return shown, tuple(match.span() for match in _beginnings(words).finditer(_fold(shown)))


def _contains(column: str, words: Sequence[str]) -> str:
    return " AND ".join([f"{column} LIKE ? ESCAPE '\\'"] * len(words))


def _query(words: Sequence[str]) -> str:
    """Write an FTS5 query for all words, each of them quoted; the last one may be the beginning of a word."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words) + " *"


def _is_indexable(words: Sequence[str]) -> bool:
    """Tell whether the index can have all the words; it has no signs."""
    return all(_LETTER_OR_DIGIT.search(word) and not _WITHOUT_SPACES.search(word) for word in words)


def _beginnings(words: Sequence[str]) -> re.Pattern[str]:
    """Match folded words where a word begins; what begins with a sign or has no spaces around it, anywhere."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        anywhere = not word[0].isalnum() or not _is_indexable([word])
        parts.append(("" if anywhere else r"(?<![^\W_])") + re.escape(_fold(word)))
    return re.compile("|".join(parts))


class _Folding(dict[int, str]):
    """A table for `str.translate`, letter for letter, so that positions stay the same."""

    def __missing__(self, code: int) -> str:
        first, *rest = tuple(unicodedata.normalize("NFD", chr(code)))
        self[code] = (first if all(map(unicodedata.combining, rest)) else chr(code)).lower()[:1]
        return self[code]


def _fold(text: str) -> str:
    """Remove case and accents."""
    return text.translate(_Folding())
