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

from avengers_edge.conversations import schema
from avengers_edge.conversations.rescue import rescue
from avengers_edge.conversations.store import FILE_NAME, ConversationStore
from avengers_edge.conversations.values import Facts, Turn
from avengers_edge.errors import AvengersError, DoesNotFit, NotFound, VerificationFailed

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and rights")
IMPORTS = """
import sys
from pathlib import Path
from avengers_edge.conversations.store import ConversationStore
from avengers_edge.conversations.values import Turn
store = ConversationStore(Path(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / FILE_NAME


@pytest.fixture
def store(path):
    with ConversationStore(path, patience=0.05) as store:
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
@pytest.mark.parametrize("sentences", [1, 2, 17])
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
        assert [hit.conversation.id for hit in store.search("sentence")] == []  # it may still be written
        store.append(1, Turn("user", "again"))
        assert [hit.conversation.id for hit in store.search("sentence")] == [1]


def test_an_answer_whose_writer_died_is_found_a_minute_later(store, monkeypatch):
    monkeypatch.setattr("avengers_edge.conversations.rows.timestamp", lambda: "2020-01-01T00:00:00.000+00:00")
    id_ = store.begin("t")
    store.write_turn(id_).update("A needle. In a haystack")
    assert [hit.conversation.id for hit in store.search("needle")] == [id_]


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
    assert len(store.search("three")) == 1


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
    with ConversationStore(path, patience=30) as store:
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
    with contextlib.suppress(AvengersError), ConversationStore(path, patience=0.05) as store:
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


@pytest.mark.parametrize("seed", range(12))
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
        assert "avengers chats rescue" in one_line(error, path) or "another program" in str(error)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.9])
def test_a_file_that_ends_too_early_is_one_line(healthy, path, share):
    content = healthy.read_bytes()
    path.parent.mkdir()
    path.write_bytes(content[: int(len(content) * share)])
    error = first_error(path)
    assert isinstance(error, VerificationFailed)
    one_line(error, path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE turns SET role = 'nobody'",
        "UPDATE turns SET facts = '{}'",
        "UPDATE turns SET facts = '['",
        "UPDATE turns SET content = x'00ff'",
        "UPDATE turns SET content = CAST(x'ff' AS TEXT)",
        "UPDATE conversations SET title = x'00'",
        "UPDATE conversations SET created = 'yesterday'",
        "DROP TABLE turns",
    ],
)
def test_a_row_that_is_none_of_ours_is_damage(store, path, change):
    id_ = store.begin("t")
    store.append(id_, Turn("assistant", "x", Facts("m")))
    store.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)
    with pytest.raises(VerificationFailed, match="avengers chats rescue") as error:
        store.read(id_)
    one_line(error.value, path)


@pytest.mark.parametrize("content", [b"hello", b"x" * 100_000, b"SQLite format 3\0" + b"\0" * 84])
def test_what_is_no_database_is_left_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(VerificationFailed), ConversationStore(path) as store:
        store.begin("t")
    assert path.read_bytes() == content


def test_another_programs_database_is_left_as_it_is(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    for attempt in (lambda store: store.begin("t"), lambda store: store.recent()):
        with pytest.raises(VerificationFailed, match="another program's") as error, ConversationStore(path) as store:
            attempt(store)
        one_line(error.value, path)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused_and_an_older_one_is_brought_up(store, path, monkeypatch):
    id_ = store.begin("t")
    store.append(id_, Turn("user", "kept"))
    store.close()
    with monkeypatch.context() as newer:
        newer.setattr(schema, "STEPS", (*schema.STEPS, ("ALTER TABLE turns ADD COLUMN mood TEXT",)))
        assert store.read(id_).turns == (Turn("user", "kept"),)
        store.close()
    with pytest.raises(VerificationFailed, match=r"newer avengers \(format 2, this one reads up to 1\)") as error:
        store.recent()
    one_line(error.value, path)


def test_a_step_that_fails_leaves_the_file_as_it_was(store, path, monkeypatch):
    store.begin("t")
    store.close()
    with monkeypatch.context() as newer:
        broken = ("ALTER TABLE turns ADD COLUMN mood TEXT", "CREATE TABLE turns (x)")
        newer.setattr(schema, "STEPS", (*schema.STEPS, broken))
        with pytest.raises(VerificationFailed):
            store.recent()
    assert store.count() == 1
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert "mood" not in {row[1] for row in other.execute("PRAGMA table_info(turns)")}


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
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_read_only_home_is_one_line(store, path):
    store.begin("t")
    store.close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(AvengersError, match="mend the rights") as error:
            store.begin("t")
        one_line(error.value, path)
    finally:
        path.parent.chmod(0o700)


READ_ONLY = """
from avengers_edge.errors import AvengersError
import sqlite3
store.begin("t")
with store._database.writing() as connection:
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
    assert "mend the rights" in rights
    assert room.startswith("DoesNotFit there is no room left")
    assert turns == "()"


def test_no_room_is_no_room_whoever_says_it(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avengers_edge.conversations.database.os.open", full)
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


# --- rescue ---


@pytest.fixture
def broken(healthy, path):
    """A file of 30 conversations, one page of which cannot be read."""
    content = bytearray(healthy.read_bytes())
    page = content.index(b"Question 20 " * 5) // 4096 * 4096
    content[page : page + 4096] = b"\xff" * 4096
    path.parent.mkdir()
    path.write_bytes(content)
    return bytes(content)


def test_a_file_that_a_chat_has_open_is_not_taken_away_from_it(broken, path):
    with ConversationStore(path) as chat:
        assert len(chat.read(1).turns) == 2
        with pytest.raises(AvengersError, match="in use: end the other chats first") as error:
            rescue(path)
        one_line(error.value, path)
        chat.append(1, Turn("user", "still here"))
    done = rescue(path)
    assert done.saved >= 29
    with ConversationStore(path) as store:
        assert store.read(1).turns[-1] == Turn("user", "still here")
    assert [file for file in path.parent.iterdir() if "rescued" in file.name] == []


def test_nobody_writes_into_a_file_while_it_is_rescued(broken, path, monkeypatch):
    refused = []

    def keep(self, conversation, **options):
        with ConversationStore(path, patience=0) as other:
            for attempt in (lambda: other.begin("t"), other.count):
                with pytest.raises(AvengersError, match="locked by another program") as error:
                    attempt()
                refused.append(error)
        return kept(self, conversation, **options)

    kept = ConversationStore.keep
    monkeypatch.setattr(ConversationStore, "keep", keep)
    done = rescue(path)
    assert len(refused) == 2 * done.saved > 0


def test_what_the_damaged_file_holds_stays_as_it_is(broken, path):
    aside = rescue(path).aside
    assert [file for file in path.parent.iterdir() if file.name.startswith(aside.name)] == [aside]
    content = aside.read_bytes()
    assert content[100:] == broken[100:]  # before that SQLite counts the changes, and names the kind of its journal
