#!/usr/bin/env python3
"""What listing and searching cost with 10,000 conversations.

    python benchmarks/bench_conversations.py [CONVERSATIONS]

The words are drawn as words of a language are, few of them often and most of them rarely (Zipf's law).
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore, _insert_turn
from avengers_edge.history.conversations import Facts, Turn

CONVERSATIONS, TURNS, WORDS_PER_TURN, VOCABULARY, ROUNDS = 10_000, 6, 80, 30_000, 15


def main() -> None:
    """Fill a store, then time what a user waits for."""
    count = int(sys.argv[1]) if sys.argv[1:] else CONVERSATIONS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME
        begin = time.perf_counter()
        words = fill(path, count)
        size = path.stat().st_size / 1e6
        print(f"{count} conversations of {TURNS} turns, {size:.0f} MB, made in {time.perf_counter() - begin:.0f} s")
        for name, action in actions(words, count):
            print(timed(path, name, action))


def fill(path: Path, count: int) -> list[str]:
    """Write conversations in one transaction; give the words, the commonest first."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 10))) for _ in range(VOCABULARY)]
    totals, total = [], 0.0
    for place in range(VOCABULARY):
        total += 1 / (place + 1)
        totals.append(total)
    with ConversationStore(path) as store:
        store.begin("starter")
        with store._database.write() as connection:
            for place in range(count):
                added = connection.execute(
                    "INSERT INTO conversations (team, created, updated, touched) VALUES ('starter', ?, ?, ?)",
                    ("2026-08-30T07:15:02.120+00:00", "2026-08-30T07:15:02.120+00:00", place),
                ).lastrowid
                for turn in range(TURNS):
                    text = " ".join(draw.choices(words, cum_weights=totals, k=WORDS_PER_TURN))
                    said = Turn("assistant", text, Facts("model")) if turn % 2 else Turn("user", text)
                    _insert_turn(connection, added, said)
    return words


def actions(words: list[str], count: int) -> list[tuple[str, Callable[[ConversationStore], object]]]:
    """Name what is timed."""
    return [
        ("list the last 20", lambda store: store.recent(20)),
        ("list the last 20 after half of all", lambda store: store.recent(20, count // 2)),
        ("list all", lambda store: store.recent(count)),
        ("search the commonest word", lambda store: store.search(words[0])),
        ("search a rare word", lambda store: store.search(words[-1])),
        ("search three words", lambda store: store.search(" ".join((words[5], words[50], words[200])))),
        ("search one letter", lambda store: store.search("q")),
        ("search two letters", lambda store: store.search("qu")),
        ("search what nobody said", lambda store: store.search("nobody said this")),
        (
            "search two common words nobody put together",
            lambda store: store.search(f"{words[0]} {words[1]} zzzzzzzzzzz"),
        ),
        ("search signs, by reading all", lambda store: store.search("==")),
        ("search a word without spaces, by reading all", lambda store: store.search("素数")),
        ("read one", lambda store: store.read(count // 2)),
        ("append one turn", lambda store: store.append(1, Turn("user", " ".join(words[:80])))),
        ("delete one", lambda store: store.delete(store.recent(1)[0].id)),
    ]


def timed(path: Path, name: str, action: Callable[[ConversationStore], object]) -> str:
    """Time an action as a command has it, opening the file included."""
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        with ConversationStore(path) as store:
            action(store)
        took.append((time.perf_counter() - begin) * 1000)
    return f"{name:<48} {statistics.median(took):7.1f} ms  ({min(took):.1f} to {max(took):.1f})"


if __name__ == "__main__":
    main()
