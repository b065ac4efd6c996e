"""Conversations: what is kept is read back, found, taken back and deleted, and no text is too strange for that."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge._util.text import columns, cut
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Facts, Turn, from_json, title_of, to_json, to_markdown

FACTS = Facts("smollm2-135m-instruct:think", (("42", 5), ("41", 1)), 6, 3.25)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)
"""Lone surrogates, NUL and all that steers a terminal included."""


@pytest.fixture
def store(tmp_path):
    with ConversationStore(tmp_path / "home" / FILE_NAME) as store:
        yield store


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One store for all examples of a law: making a file takes longer than using it."""
    with ConversationStore(tmp_path_factory.mktemp("shared") / FILE_NAME) as store:
        yield store


def conversation(store, *said, team="starter"):
    """Keeps a conversation of question, answer, question, ..."""
    id_ = store.begin(team)
    for place, content in enumerate(said):
        store.append(id_, Turn("assistant" if place % 2 else "user", content))
    return id_


def found(store, words, **options):
    return [each.conversation.id for each in store.search(words, **options)]


def test_what_is_appended_is_read_back_in_order(store):
    turns = (Turn("user", "How many?"), Turn("assistant", "42", FACTS), Turn("user", "Sure?"))
    id_ = store.begin("starter", "Be brief.")
    for turn in turns:
        store.append(id_, turn)
    read = store.read(id_)
    assert (read.id, read.team, read.system, read.title, read.turns) == (
        id_,
        "starter",
        "Be brief.",
        "How many?",
        turns,
    )
    assert store.last() == read


def test_reading_makes_no_file(store):
    assert (store.recent(), store.last(), store.search("anything"), store.count()) == ((), None, (), 0)
    with pytest.raises(NotFound, match="conversation 1"):
        store.read(1)
    assert not store.path.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_nobody_else_can_read_the_file(store):
    before = os.umask(0)
    try:
        conversation(store, "a secret")
        kept = list(store.path.parent.iterdir())
    finally:
        os.umask(before)
    assert len(kept) == 3  # the file and SQLite's two companions
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_kept_and_valid_text_as_it_is(shared, question, answer):
    id_ = conversation(shared, question, answer)
    for said, turn in zip((question, answer), shared.read(id_).turns, strict=True):
        # A pair of surrogates is the character it stands for; each lone one becomes U+FFFD.
        assert turn.content == said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    again = shared.add(from_json(to_json(shared.read(id_))))
    assert shared.read(again).turns == shared.read(id_).turns
    assert to_markdown(shared.read(id_)).count(shared.read(id_).title) >= 1


@given(st.lists(ANY_TEXT, min_size=1, max_size=4), ANY_TEXT, st.integers(0, 3))
def test_no_search_breaks_whatever_is_looked_for(shared, said, words, limit):
    conversation(shared, *said)
    hits = shared.search(words, limit)
    assert len(hits) <= limit
    for hit in hits:
        assert hit.snippet.isprintable()
        assert all(0 <= begin < end <= len(hit.snippet) for begin, end in hit.marks)


WORD = st.text(st.characters(categories=("Ll", "Lu", "Nd"), max_codepoint=0x24F), min_size=1, max_size=8)


@given(st.lists(WORD, min_size=1, max_size=12), st.data())
def test_what_was_said_is_found_by_its_words_and_by_the_beginning_of_the_last_one(shared, said, data):
    chosen = data.draw(st.lists(st.sampled_from(said), min_size=1, max_size=3))
    length = data.draw(st.integers(1, len(chosen[-1])))
    id_ = conversation(shared, "?", " ".join(said))
    words = " ".join([*chosen[:-1], chosen[-1][:length]])
    assert id_ in found(shared, words, limit=10_000)


def test_signs_of_the_query_language_are_text(store):
    for words in (
        '"',
        "'",
        "*",
        "a*b",
        'NEAR("a b")',
        "a OR b",
        "-a",
        "a:b",
        "{content}: a",
        "(",
        "^a",
        "a\0b",
        *"%_\\+",
    ):
        id_ = conversation(store, f"what is {words} here")
        assert found(store, words) == [id_], words
        store.delete(id_)
        assert found(store, words) == [], words


def test_what_has_no_spaces_or_letters_is_found_too(store):
    id_ = conversation(store, "7是素数吗", "ภาษาไทย x == y 🎉")
    conversation(store, "something else")
    for words in ("素数", "是素", "ไทย", "==", "🎉"):
        assert found(store, words) == [id_], words


def test_accents_and_case_do_not_hide_a_word(store):
    id_ = conversation(store, "Un CAFÉ, s'il vous plaît")
    assert found(store, "cafe plait") == [id_]


def test_a_snippet_is_one_line_around_the_words_and_marks_them(store):
    conversation(store, "?", f"{'before ' * 60}\n\x1b[31m needle\n\n{'after ' * 60}")
    for words in ("needle", "needle =="):  # by the index, and by reading
        if "=" in words:
            store.append(1, Turn("user", f"{'before ' * 60} == \x1b[31m needle {'after ' * 60}"))
        (hit,) = store.search(words)
        assert hit.snippet.isprintable()
        assert len(hit.snippet) < 250
        assert "needle" in [hit.snippet[begin:end] for begin, end in hit.marks]


def test_a_search_shows_each_conversation_once_titles_first_then_the_newest(store):
    old = conversation(store, "gold and silver", "gold", "gold")
    new = conversation(store, "?", "gold")
    titled = conversation(store, "!")
    store.rename(titled, "about gold")
    conversation(store, "?", "silver")
    assert found(store, "gold") == [titled, old, new]
    assert found(store, "gold", limit=2) == [titled, old]
    assert found(store, "") == found(store, " \n") == []


def test_a_search_of_too_many_or_too_long_words_is_refused(store):
    for words in ("a " * 33, "a" * 201):
        with pytest.raises(BadRequest, match="use at most"):
            store.search(words)
    assert store.search("a " * 32) == store.search("a" * 200) == ()


def test_the_one_written_last_comes_first_whatever_the_clock_says(store, monkeypatch):
    first, second, third = (conversation(store, str(place)) for place in range(3))
    monkeypatch.setattr("avengers_edge.history.conversation_store.timestamp", lambda: "1999-01-01T00:00:00.000+00:00")
    store.append(first, Turn("user", "again"))
    assert [each.id for each in store.recent()] == [first, third, second]
    assert [each.id for each in store.recent(1, 1)] == [third]
    assert store.last().id == first
    assert store.count() == 3
    assert store.recent()[0].turns == 2


def test_undo_takes_the_last_question_and_its_answers(store):
    id_ = conversation(store, "one", "1", "two", "2")
    assert store.undo(id_, store.read(id_).turns[2:], keep_question=True)
    store.append(id_, Turn("assistant", "II", FACTS))
    assert store.undo(id_, store.read(id_).turns[2:])
    assert [turn.content for turn in store.read(id_).turns] == ["one", "1"]
    assert found(store, "two") == found(store, "II") == []
    assert store.undo(id_, store.read(id_).turns)
    assert store.read(id_).turns == ()


@given(st.lists(ANY_TEXT, min_size=1, max_size=4), st.integers(1, 4), st.booleans())
def test_undo_takes_back_what_it_was_told_of_and_only_while_nothing_came_after_it(shared, said, last, keep_question):
    id_, same_words = conversation(shared, *said), conversation(shared, *said)
    known = [Turn("assistant" if place % 2 else "user", text) for place, text in enumerate(said)][-last:]
    before = shared.read(id_).turns
    another = Turn("user", said[-1] + "!")  # by another chat
    shared.append(id_, another)
    assert not shared.undo(id_, known, keep_question=keep_question)
    assert len(shared.read(id_).turns) == len(before) + 1
    assert shared.undo(id_, [another])
    assert shared.undo(id_, known, keep_question=keep_question)
    assert shared.read(id_).turns == before[: len(before) - len(known) + keep_question]
    assert shared.read(same_words).turns == before


def test_delete_forgets_everything_and_no_id_comes_back(store):
    kept, deleted = (conversation(store, f"word{place}") for place in range(2))
    store.delete(deleted)
    assert [found(store, f"word{place}") for place in range(2)] == [[kept], []]
    assert [each.id for each in store.recent()] == [kept]
    assert conversation(store, "new") > deleted


def test_what_is_deleted_is_not_in_the_file(store):
    deleted = conversation(store, "xyzzyplugh", "plughxyzzy")
    conversation(store, "something else")
    store.delete(deleted)
    store.close()
    bytes_left = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert (bytes_left.count(b"something"), bytes_left.count(b"xyzzy")) == (3, 0)  # title, turn, index


def test_deleting_deletes_all_that_are_named_or_none(store):
    one, two = conversation(store, "1"), conversation(store, "2")
    with pytest.raises(NotFound, match="conversation 99"):
        store.delete(one, 99)
    assert store.count() == 2
    store.delete(one, two, one)
    assert store.count() == 0


def test_team_and_system_prompt_can_change(store):
    id_ = store.begin("one", "Be brief.")
    store.change(id_, "two", None)
    assert (store.read(id_).team, store.read(id_).system) == ("two", None)


def test_everything_that_names_what_is_not_there_says_so(store):
    conversation(store, "1")
    for attempt in (
        lambda: store.read(7),
        lambda: store.append(7, Turn("user", "x")),
        lambda: store.undo(7, [Turn("user", "x")]),
        lambda: store.change(7, "t", None),
        lambda: store.rename(7, "x"),
        lambda: store.delete(7),
        lambda: store.write_turn(7).end(),
    ):
        with pytest.raises(NotFound, match="no conversation 7: see `avengers chats list`"):
            attempt()


@given(ANY_TEXT)
def test_a_title_is_one_line_of_at_most_60_columns(question):
    title = title_of(question)
    assert title
    assert title.isprintable()
    assert columns(title) <= 60


def test_a_title_is_the_first_line_that_says_something(store):
    assert title_of("\n \x00\n  What   is\tthis?\nAnd that?") == "What is this?"
    assert title_of("x" * 61) == "x" * 59 + "…"
    assert title_of("素" * 40) == "素" * 29 + "…"
    assert title_of("") == "untitled"
    assert cut("word word", 6) == "word…"
    assert store.read(store.begin("t")).title == "untitled"


def test_a_name_replaces_the_title_and_later_questions_do_not(store):
    id_ = store.begin("t")
    store.rename(id_, " my\nname ")
    store.append(id_, Turn("user", "a question"))
    assert store.read(id_).title == "my name"
    for wrong in ("", " \n", "x" * 61):
        with pytest.raises(BadRequest, match="the title"):
            store.rename(id_, wrong)


def test_an_exported_conversation_is_kept_again_as_it_was(store, tmp_path):
    id_ = store.begin("starter", "Be brief.")
    store.append(id_, Turn("user", "How many?"))
    store.append(id_, Turn("assistant", "4", FACTS, complete=False))
    before = store.read(id_)
    with ConversationStore(tmp_path / "other" / FILE_NAME) as other:
        conversation(other, "an older one")
        after = other.read(other.add(from_json(to_json(before))))
    assert (after.title, after.system, after.created, after.turns) == (
        before.title,
        before.system,
        before.created,
        before.turns,
    )
    assert after.id != before.id


def test_markdown_has_what_was_said_and_who_answered(store):
    id_ = store.begin("starter", "Be brief.")
    store.append(id_, Turn("user", "How many?"))
    store.append(id_, Turn("assistant", "42", FACTS, complete=False))
    text = to_markdown(store.read(id_))
    for part in ("# How many?\n", "team starter · 20", "## System\n\nBe brief.", "## You\n\nHow many?", "*(stopped)*"):
        assert part in text
    assert "*smollm2-135m-instruct:think · 5 of 6 votes · 6 samples · 3.2 s*" in text


EXPORTED = {
    "format": 1,
    "id": 1,
    "title": "t",
    "team": "x",
    "system": None,
    "created": "2026-08-30T07:15:02.120+00:00",
    "updated": "2026-08-30T07:15:02.120+00:00",
    "turns": [
        {"role": "assistant", "content": "c", "complete": True, "model": "m", "votes": [], "samples": 1, "seconds": 0}
    ],
}
TURN = EXPORTED["turns"][0]
WRONG_TURNS = (
    {"role": "nobody"},
    {"content": None},
    {"complete": 1},
    {"seconds": float("nan")},
    {"samples": -1},
    {"votes": [["a"]]},
    {"votes": [["a", "b"]]},
)


def test_what_was_exported_by_anybody_steers_no_terminal_and_is_valid_text(store):
    escape, half = "\x1b]0;x\x07\u202e", "\ud800"
    turn = {**TURN, "content": f"c{half}", "model": f"m{escape}{half}", "votes": [[f"v{escape}\n{half}", 1]]}
    heading = {"title": f"t{escape}\n{half}", "team": f"x{escape}", "created": "2026-08-30\x1b07:15", "system": half}
    loaded = from_json(json.dumps({**EXPORTED, **heading, "turns": [turn]}))
    facts = loaded.turns[0].facts
    for line in (loaded.title, loaded.team, loaded.created, facts.model, facts.votes[0][0]):
        assert line.isprintable()
    to_json(loaded).encode()
    assert (loaded.title, loaded.system, loaded.turns[0].content) == ("t ]0;x \ufffd", "\ufffd", "c\ufffd")
    assert store.read(store.add(loaded)).turns == loaded.turns


def test_what_is_no_exported_conversation_is_refused_in_one_line():
    assert from_json(json.dumps(EXPORTED)).id == 1
    wrongs = [
        {**EXPORTED, "format": 2},
        {**EXPORTED, "title": 3},
        {**EXPORTED, "id": "1"},
        {**EXPORTED, "created": "yesterday"},
        {**EXPORTED, "turns": "none"},
        {**EXPORTED, "turns": [3]},
        *({**EXPORTED, "turns": [TURN | wrong]} for wrong in WRONG_TURNS),
        *({key: value for key, value in EXPORTED.items() if key != missing} for missing in EXPORTED),
    ]
    for text in ("", "[]", "3", "[" * 100_000, *map(json.dumps, wrongs)):
        with pytest.raises(VerificationFailed) as refused:
            from_json(text)
        assert "\n" not in str(refused.value), text[:200]


def test_without_fts5_everything_is_refused_in_one_line(store, monkeypatch):
    conversation(store, "kept")
    store.close()
    with monkeypatch.context() as lacking:
        lacking.setattr("avengers_edge.history.database._HAS_FTS5", "SELECT 1 WHERE 0")
        for use in (store.recent, lambda: store.begin("t"), ConversationStore(store.path / "none").last):
            with pytest.raises(AvengersError, match="SQLite has no FTS5.*another Python, or chat with --no-log$"):
                use()
    assert store.count() == 1


def test_a_huge_paste_is_kept(store):
    paste = "0123456789 words\n" * 620_000  # 10 MB
    id_ = conversation(store, paste)
    same = store.read(id_).turns[0].content == paste  # pytest would explain a difference for hours
    assert same
    assert store.read(id_).title == "0123456789 words"
    (hit,) = store.search("0123")
    assert len(hit.snippet) < 250


def test_the_room_needs_nothing_heavy():
    import subprocess

    code = "import sys, avengers_edge.history.conversation_store; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "click", "prompt_toolkit", "rich"}.isdisjoint(loaded)
