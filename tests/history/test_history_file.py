"""The conversations' file: two processes at once, a kill in the middle, damage anywhere, locks, no room, no rights."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from avengers_edge.errors import AvengersError, DoesNotFit, NotFound, VerificationFailed
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Facts, Turn

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and rights")
IMPORTS = """
import sys
from pathlib import Path
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Turn
store = ConversationStore(Path(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / FILE_NAME


@pytest.fixture
def store(path):
    with ConversationStore(path, timeout=0.05) as store:
        yield store


def start(code, *words):
    command = [sys.executable, "-c", IMPORTS + code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def one_line(error, path):
    assert "\n" not in str(error)
    assert str(path) in str(error)
    return str(error)


APPENDING = """
for place in range(30):
    if place % 10 == 0:
        id_ = store.begin(sys.argv[2])
    store.append(id_, Turn("user", f"{sys.argv[2]} {place}"))
"""


def test_two_processes_at_once_lose_nothing_though_both_make_the_file(path):
    both = [start(APPENDING, path, name) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for process in both:
        process.stdout.close()
    with ConversationStore(path) as store:
        said = {}
        for listed in reversed(store.recent()):
            said.setdefault(listed.team, []).extend(turn.content for turn in store.read(listed.id).turns)
        assert said == {name: [f"{name} {place}" for place in range(30)] for name in ("one", "two")}
        assert len(store.search("one", limit=100)) == 3


def test_threads_share_a_store(path):
    with ConversationStore(path) as store:
        id_ = store.begin("t")
        threads = [
            threading.Thread(target=lambda: [store.append(id_, Turn("user", "x")) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.recent()[0].turns == 80


STREAMING = """
id_ = store.begin("t")
store.append(id_, Turn("user", "q"))
writing = store.write_turn(id_)
text = ""
for place in range(100_000):
    for word in ("Sentence ", "number ", f"{place}", ". "):
        text += word
        writing.update(text)
    print(place, flush=True)
"""


@posix
@pytest.mark.parametrize("sentences", [1, 17])
def test_a_kill_while_an_answer_is_written_loses_at_most_the_sentence_being_written(path, sentences):
    process = start(STREAMING, path)
    for _ in range(sentences):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    printed = sentences + len(process.stdout.read().split())  # it went on until the signal came
    process.wait()
    process.stdout.close()
    with ConversationStore(path) as store:
        question, answer = store.last().turns
        assert (question.content, question.complete, answer.complete) == ("q", True, False)
        whole = "".join(f"Sentence number {place}. " for place in range(printed + 2))
        assert whole.startswith(answer.content)
        assert len(answer.content) >= len("".join(f"Sentence number {place}. " for place in range(printed)))
        assert [hit.conversation.id for hit in store.search("sentence")] == [1]


def test_an_answer_grows_ends_and_has_its_facts(store):
    id_ = store.begin("t")
    facts = Facts("m")
    writing = store.write_turn(id_)
    for text, kept in (("On", 0), ("One. T", 1), ("One. Two", 1), ("One. Two. ", 1)):
        writing.update(text)
        assert len(store.read(id_).turns) == kept
    assert store.read(id_).turns == (Turn("assistant", "One. Two. ", complete=False),)
    writing.update("One. Two. Three")
    writing.end(facts)
    assert store.read(id_).turns == (Turn("assistant", "One. Two. Three", facts),)
    assert (len(store.search("three")), store.search("One. T")[0].role) == (1, "assistant")


def test_a_long_text_without_an_end_of_a_sentence_is_kept_too(store):
    writing = store.write_turn(store.begin("t"))
    writing.update("x" * 201)
    assert len(store.read(1).turns[0].content) == 201
    writing.update("another text")  # the sample that won the vote may be another one
    assert store.read(1).turns[0].content == "another text"


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_came(store):
    id_ = store.begin("t")
    writing = store.write_turn(id_)
    writing.update("Half a sent")
    writing.end(complete=False)
    store.write_turn(id_)  # nothing was said: nothing is kept
    assert store.read(id_).turns == (Turn("assistant", "Half a sent", complete=False),)
    assert len(store.search("half")) == 1


def test_what_is_deleted_while_it_is_written_says_so(store):
    id_ = store.begin("t")
    writing = store.write_turn(id_)
    writing.update("One. ")
    store.delete(id_)
    with pytest.raises(NotFound, match=f"no conversation {id_}"):
        writing.update("One. Two. ")


@contextlib.contextmanager
def held(path):
    """Another program in the middle of a write."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def test_a_file_that_stays_locked_is_one_line_and_reading_goes_on(store, path):
    id_ = store.begin("t")
    with held(path), pytest.raises(AvengersError, match="locked by another program for more than 0.05 s") as error:
        store.append(id_, Turn("user", "x"))
    one_line(error.value, path)
    with held(path):
        assert store.read(id_).turns == ()
        assert store.search("x") == ()
    store.append(id_, Turn("user", "x"))


def test_a_lock_that_is_let_go_is_waited_for(path):
    with ConversationStore(path, timeout=30) as store:
        id_ = store.begin("t")
        with held(path):
            waiting = threading.Thread(target=store.append, args=(id_, Turn("user", "x")))
            waiting.start()
            time.sleep(0.05)
        waiting.join()
        assert store.recent()[0].turns == 1


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    path = tmp_path_factory.mktemp("healthy") / FILE_NAME
    with ConversationStore(path) as store:
        for place in range(30):
            id_ = store.begin("starter", "Be brief.")
            store.append(id_, Turn("user", f"Question {place} " * 20))
            store.append(id_, Turn("assistant", "An answer. " * 200, Facts("m")))
    return path


def everything(store):
    """Does all that a store can do."""
    return (
        lambda: store.recent(100),
        store.count,
        store.last,
        lambda: store.search("question answ", 100),
        lambda: store.search("==", 100),
        *(lambda place=place: store.read(place) for place in range(1, 31)),
        lambda: store.append(store.begin("t"), Turn("user", "new")),
        lambda: store.undo(3, store.read(3).turns[-2:]),
        lambda: store.rename(4, "x"),
        lambda: store.delete(6),
        store.close,
    )


def first_error(path):
    """Does everything with a file; what is wrong with it may be said in no other way than ours."""
    error = None
    with contextlib.suppress(AvengersError), ConversationStore(path, timeout=0.05) as store:
        for attempt in everything(store):
            try:
                attempt()
            except NotFound:
                pass  # a row that is gone is gone
            except AvengersError as said:
                error = error or said
    return error


def test_a_healthy_file_has_no_error(healthy, path):
    path.parent.mkdir()
    shutil.copy(healthy, path)
    assert first_error(path) is None


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_is_one_line_or_goes_unnoticed(healthy, path, seed):
    draw = random.Random(seed)
    content = bytearray(healthy.read_bytes())
    # Whole pages, or a few bytes of each; the first pages hold what SQLite needs most.
    at = draw.choice([0, 18, 100, 4096, draw.randrange(len(content))])
    if seed % 2:
        content[at : at + 4096] = draw.randbytes(4096)
    else:
        for _ in range(40):
            content[draw.randrange(at, len(content))] ^= 1 << draw.randrange(8)
    path.parent.mkdir()
    path.write_bytes(content)
    error = first_error(path)
    if error is not None:
        assert isinstance(error, VerificationFailed), error
        assert "move the file aside" in one_line(error, path) or "another program" in str(error)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9])
def test_a_file_that_ends_too_early_is_one_line(healthy, path, share):
    content = healthy.read_bytes()
    path.parent.mkdir()
    path.write_bytes(content[: int(len(content) * share)])
    error = first_error(path)
    assert isinstance(error, VerificationFailed)
    one_line(error, path)


def test_a_row_that_is_none_of_ours_is_damage(tmp_path):
    changes = (
        "UPDATE turns SET role = 'nobody'",
        "UPDATE turns SET facts = '{}'",
        "UPDATE turns SET facts = '['",
        "UPDATE turns SET content = x'00ff'",
        "UPDATE turns SET content = CAST(x'ff' AS TEXT)",
        "UPDATE conversations SET title = x'00'",
        "UPDATE conversations SET created = 'yesterday'",
        "DROP TABLE turns",
    )
    for place, change in enumerate(changes):
        path = tmp_path / str(place)
        with ConversationStore(path) as store:
            id_ = store.begin("t")
            store.append(id_, Turn("assistant", "x", Facts("m")))
            store.close()
            run_sql(path, change)
            with pytest.raises(VerificationFailed, match="move the file aside") as error:
                store.read(id_)
        one_line(error.value, path)


def test_what_is_no_database_is_left_as_it_is_until_it_is_moved_aside(store, path):
    path.parent.mkdir()
    for content in (b"hello", b"x" * 100_000, b"SQLite format 3\0" + b"\0" * 84):
        path.write_bytes(content)
        with pytest.raises(VerificationFailed, match="move the file aside") as error:
            store.begin("t")
        one_line(error.value, path)
        assert path.read_bytes() == content
    path.rename(path.with_name("aside"))
    assert store.begin("t") == 1


def test_a_damaged_file_that_is_moved_aside_without_its_companions_does_no_harm_to_the_next_one(path):
    process = start("store.append(store.begin('t'), Turn('user', 'old')); import os; os._exit(0)", path)
    assert process.wait() == 0  # and nobody closed the file
    process.stdout.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size
    path.rename(path.with_name("aside"))
    with ConversationStore(path) as store:
        assert (store.count(), store.begin("t")) == (0, 1)
        store.check()


def test_another_programs_database_is_left_as_it_is(path):
    path.parent.mkdir()
    run_sql(path, "CREATE TABLE theirs (x)")
    before = path.read_bytes()
    for attempt in (lambda store: store.begin("t"), lambda store: store.recent()):
        with pytest.raises(VerificationFailed, match="another program's") as error, ConversationStore(path) as store:
            attempt(store)
        one_line(error.value, path)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused_and_stays_as_it_is(store, path):
    store.begin("t")
    store.close()
    run_sql(path, "PRAGMA user_version = 3")
    before = path.read_bytes()
    for attempt in (store.recent, lambda: store.begin("t")):
        with pytest.raises(VerificationFailed, match=r"newer avengers \(format 3, this one reads up to 2\)") as error:
            attempt()
        one_line(error.value, path)
    assert path.read_bytes() == before


def make_version_1(path):
    """Two conversations as version 1 kept them: one whole, one whose answer was not finished and not in the index."""
    path.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)


VERSION_1 = """
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1096173379;
PRAGMA user_version = 1;
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, team TEXT NOT NULL, system TEXT, created TEXT NOT NULL,
    updated TEXT NOT NULL, touched INTEGER NOT NULL
);
CREATE INDEX conversations_by_touch ON conversations (touched);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT, conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    role TEXT NOT NULL, facts TEXT, complete INTEGER NOT NULL, indexed INTEGER NOT NULL, content TEXT NOT NULL
);
CREATE INDEX turns_of_conversation ON turns (conversation);
CREATE INDEX turns_to_index ON turns (conversation) WHERE NOT indexed;
CREATE TABLE words (behind INTEGER NOT NULL);
INSERT INTO words VALUES (0);
CREATE VIRTUAL TABLE turn_words USING fts5(
    content, content = 'turns', content_rowid = 'id', prefix = '2 3', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO conversations VALUES
    (3, 'How many?', 'one', 'Be brief.', '2026-08-30T07:15:02.120+00:00', '2026-08-30T07:15:04.000+00:00', 9),
    (5, 'a name', 'two', NULL, '2026-08-30T07:16:02.120+00:00', '2026-08-30T07:16:04.000+00:00', 7);
INSERT INTO turns VALUES
    (1, 3, 'user', NULL, 1, 1, 'How many?'),
    (2, 3, 'assistant', '{"model": "m", "votes": [["42", 5]], "samples": 6, "seconds": 3.5}', 1, 1, 'It is 42.'),
    (4, 5, 'user', NULL, 1, 1, 'And here?'),
    (6, 5, 'assistant', NULL, 0, 0, 'Half an answer. ');
INSERT INTO turn_words (rowid, content) SELECT id, content FROM turns WHERE indexed;
UPDATE sqlite_sequence SET seq = 8 WHERE name = 'conversations';
"""


def test_a_file_of_version_1_is_upgraded_with_all_that_it_holds(store, path):
    make_version_1(path)
    path.chmod(0o600)
    assert [(each.id, each.title, each.turns) for each in store.recent()] == [(3, "How many?", 2), (5, "a name", 2)]
    first, second = store.read(3), store.read(5)
    assert (first.team, first.system, first.created) == ("one", "Be brief.", "2026-08-30T07:15:02.120+00:00")
    assert first.turns[1] == Turn("assistant", "It is 42.", Facts("m", (("42", 5),), 6, 3.5))
    assert second.turns[1] == Turn("assistant", "Half an answer. ", complete=False)
    assert [[hit.conversation.id for hit in store.search(words)] for words in ("how", "half an")] == [[3], [5]]
    assert store.begin("t") == 9  # no id comes back
    store.append(3, Turn("user", "Sure?"))
    store.delete(5)
    assert (store.last().id, store.search("half")) == (3, ())
    store.check()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(store, path):
    make_version_1(path)
    run_sql(path, "ALTER TABLE turns RENAME COLUMN facts TO others")
    before = tables_of(path)
    with pytest.raises(VerificationFailed, match="no such column"):
        store.recent()
    assert tables_of(path) == before


def run_sql(path, statement):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def tables_of(path):
    return run_sql(path, "SELECT name, sql FROM sqlite_master ORDER BY name")


@posix
def test_what_is_no_regular_file_is_refused_at_once(path):
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(VerificationFailed, match="not a regular file"), ConversationStore(path) as store:
        store.recent()


def test_a_home_that_cannot_be_made_or_written_is_one_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(AvengersError, match="--home") as error, ConversationStore(blocked / FILE_NAME) as store:
        store.begin("t")
    one_line(error.value, blocked)


@posix
@pytest.mark.rights
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_read_only_home_is_one_line(store, path):
    store.begin("t")
    store.close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(AvengersError, match="check the rights") as error:
            store.begin("t")
        one_line(error.value, path)
    finally:
        path.parent.chmod(0o700)


READ_ONLY = """
from avengers_edge.errors import AvengersError
import sqlite3
store.begin("t")
with store._database.write() as connection:
    pass
connection.execute("PRAGMA query_only = ON")
try:
    store.begin("t")
except AvengersError as error:
    print(type(error).__name__, error)
connection.execute("PRAGMA query_only = OFF")
((pages,),) = connection.execute("PRAGMA page_count")
connection.execute(f"PRAGMA max_page_count = {pages}")
try:
    store.append(1, Turn("user", "x" * 100_000))
except AvengersError as error:
    print(type(error).__name__, error)
print(store.read(1).turns)
"""


def test_no_rights_and_no_room_are_one_line_each_and_change_nothing(path):
    # SQLite answers as it does on a read-only and on a full disk.
    process = start(READ_ONLY, path)
    said, _ = process.communicate()
    rights, room, turns = said.splitlines()
    assert rights.startswith("AvengersError the conversations in")
    assert "check the rights" in rights
    assert room.startswith("DoesNotFit there is no room left")
    assert turns == "()"


def test_no_room_is_no_room_whoever_says_it(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avengers_edge.history.database.os.open", full)
    with pytest.raises(DoesNotFit, match="no room left"):
        store.begin("t")


def test_nothing_is_written_into_a_file_that_was_moved_away(store, path):
    id_ = store.begin("t")
    path.rename(path.with_name("aside"))
    for attempt in (lambda: store.append(id_, Turn("user", "x")), lambda: store.begin("t")):
        store.close()
        path.with_name("aside").rename(path)
        assert store.read(id_).turns == ()
        path.rename(path.with_name("aside"))
        with pytest.raises(AvengersError, match="moved or replaced by another program") as error:
            attempt()
        one_line(error.value, path)
    assert store.begin("t") == 1  # in the file that has the name now
