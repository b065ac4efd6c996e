"""`chat` from the outside: piped, on a terminal that is closed, without what a terminal needs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
from api_fakes import Embedding, Endless
from click.testing import CliRunner
from fakes import QueuedEngine
from test_cli import run  # noqa: F401 - a fixture

from avengers_edge.cli.chat import chat_command as command
from avengers_edge.cli.chat.turns import Turns
from avengers_edge.cli.root_command import cli
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Turn
from avengers_edge.records import Ask

TALE = "Tell me a tale about a dragon"


@pytest.fixture
def chat(run, monkeypatch):  # noqa: F811
    """Pipes lines into a chat with team `solo`, whose engine gives these texts."""

    def piped(lines, *words, texts=(), team="solo", **options):
        engine = QueuedEngine(texts)
        monkeypatch.setattr(ModelPool, "lease", lambda self, model: contextlib.nullcontext(engine))
        result = run("chat", *(["--team", team] if team else []), *words, input=lines, **options)
        result.requests = engine.requests
        return result

    return piped


@pytest.fixture
def store(home):
    with ConversationStore(home / FILE_NAME) as store:
        yield store


def test_piped_lines_are_questions_and_only_answers_come_out(chat, store):
    result = chat(f"{TALE}\nTell me more\n", texts=["Once.", "More."])
    assert (result.exit_code, result.stdout) == (0, "Once.\nMore.\n")
    assert result.stderr.count("smollm2-135m-instruct:think · 1 sample") == 2
    assert [turn.content for turn in store.last().turns] == [TALE, "Once.", "Tell me more", "More."]
    assert [message.content for message in result.requests[1].messages][-3:-1] == [TALE, "Once."]


def test_what_has_an_answer_is_voted_on(chat):
    texts = ["So 5.\nAnswer: 5", "Answer: 5", "Answer: 6", "Answer: 5", "Answer: 5"]
    result = chat("How many apples are 2 and 3 apples?\n", texts=texts)
    assert result.stdout.endswith("=> 5\n")
    assert "· 3 of 4 votes · 4 of 5 samples ·" in result.stderr


def test_the_quiet_line_can_be_left_out(chat):
    assert chat(f"{TALE}\n", "--quiet", texts=["Once."]).stderr == ""


def test_several_lines_can_be_one_question(chat, store):
    result = chat('"""Tell me\na tale"""\n', texts=["Once."])
    assert result.stdout == "Once.\n"
    assert store.last().turns[0].content == "Tell me\na tale"


def test_commands_work_there_too(chat):
    result = chat(f"{TALE}\n/undo\n/wat\n/exit\n{TALE}\n", texts=["Once."])
    assert result.stdout == "Once.\n"
    assert "did you mean" in result.stderr
    assert result.exit_code == 2


def test_lines_that_are_no_utf8_are_left_out_by_their_number_and_the_others_are_answered(chat):
    result = chat(TALE.encode() + b"\ncaf\xe9\n" + TALE.encode() + b"\n", texts=["Once.", "Twice."])
    assert result.stdout == "Once.\nTwice.\n"
    assert "avengers: line 2 is not UTF-8 at byte 3 and is left out: convert it first\n" in result.stderr
    assert result.exit_code == 2


def test_a_conversation_is_gone_on_with(chat, store):
    chat(f"{TALE}\n", "--system", "Be brief.", texts=["Once."])
    chat("Tell me of a cat\n", texts=["Purr."])
    for words, id_ in ((["--id", "1"], 1), (["-c"], 1), (["--id", "2"], 2)):
        result = chat("Tell me more\n", *words, team=None, texts=["More."])
        assert result.stdout == "More.\n"
        assert f"conversation {id_}: " in result.stderr
        assert store.last().id == id_
    assert (store.read(1).team, store.read(1).system) == ("solo", "Be brief.")
    assert len(store.read(1).turns) == 6
    chat("", "-c", "--team", "pair", "--system", "Be long.")
    assert (store.read(2).team, store.read(2).system) == ("pair", "Be long.")


def test_going_on_where_nothing_is_kept_begins_anew(chat, store):
    assert chat(f"{TALE}\n", "-c", texts=["Once."]).stdout == "Once.\n"
    assert store.count() == 1


def test_nothing_is_kept_with_no_log(chat, home):
    assert chat(f"{TALE}\n", "--no-log", texts=["Once."]).stdout == "Once.\n"
    assert {path.name for path in home.iterdir()} == {"teams"}


class Parked(QueuedEngine):
    """A loaded model that remembers a conversation, and that it was asked to write it down."""

    alive = True

    def __init__(self, saved, model):
        super().__init__(["Once."])
        self._saved, self._model = saved, model

    def save_state(self, path):
        self._saved.append(self._model)
        path.write_text("what was said", encoding="utf-8")
        return 5

    def load_state(self, path):
        return 5

    def close(self):
        pass


@pytest.mark.parametrize(("words", "kept"), [([], ["smollm2-135m-instruct"]), (["--no-log"], [])])
def test_no_conversation_is_parked_on_the_disk_with_no_log(run, home, tmp_path, monkeypatch, words, kept):  # noqa: F811
    saved, gguf = [], tmp_path / "model.gguf"
    gguf.touch()

    def residency(path_of, need_of, settings):
        need = types.SimpleNamespace(weights=1, kv_per_cell=0, compute=0, layers=1, total=lambda cells: 1)
        return ModelPool(
            lambda model: gguf,
            lambda path: need,
            settings,
            lambda model, path, layers: Parked(saved, model),
            available=lambda: None,  # so one model is kept at a time
            device_memory=lambda: None,
        )

    monkeypatch.setattr("avengers_edge.engine.model_pool.ModelPool", residency)
    lines = f"{TALE}\n/model qwen2.5-coder-0.5b-instruct\n{TALE}\n"
    result = run("chat", "--team", "solo", *words, input=lines)
    assert (result.exit_code, result.stdout) == (0, "Once.\nOnce.\n")
    assert saved == kept
    assert (home / "kv").exists() == bool(kept)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["--id", "7"], 3, "there is no conversation 7"),
        (["-c", "--id", "7"], 2, "choose one"),
        (["--team", "solp"], 3, "there is no team 'solp': did you mean solo?"),
        (["--model", "smollm2-135m-instruct:thin"], 3, "did you mean smollm2-135m-instruct:think?"),
        (["-n", "many"], 2, "neither a number nor auto"),
        (["-n", "0"], 2, "samples is 0"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_read(chat, words, code, complaint):
    result = chat("x\n", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_conversation_whose_team_is_gone_names_another_way(chat, store, home):
    chat(f"{TALE}\n", texts=["Once."])
    (home / "teams" / "solo.toml").unlink()
    result = chat("More\n", "-c", team=None)
    assert result.exit_code == 3
    assert "there is no team 'solo'" in result.stderr
    assert chat("Tell me more\n", "-c", team="pair", texts=["More."]).stdout == "More.\n"


def test_without_its_extra_a_terminal_is_told_the_cure_and_a_pipe_is_served(chat, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rich" else found(name))
    assert chat(f"{TALE}\n", texts=["Once."]).stdout == "Once.\n"
    monkeypatch.setattr(command, "is_on_terminal", lambda: True)
    result = chat("")
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(
        r"avengers: chat on a terminal needs rich: run `\S+ -m pip install .*\[chat\]'`\n", result.stderr
    )


def test_a_damaged_file_of_conversations_stops_nothing_that_does_not_need_it(chat, home):
    (home / FILE_NAME).write_bytes(b"not a database" * 500)
    assert chat("x\n", "-c").exit_code == 4
    result = chat(f"{TALE}\n", texts=["Once."])
    assert (result.exit_code, result.stdout) == (0, "Once.\n")
    assert "move the file aside" in result.stderr
    assert chat(f"{TALE}\n", "--no-log", texts=["Once."]).stderr.count("aside") == 0


ON_A_TERMINAL = """
import sys, time
sys.path.insert(0, {tests!r})
from chat_fakes import answer
from avengers_edge.records import Finished, Token
from avengers_edge.cli.chat import chat_command as command

class Endless:
    def warm(self): pass
    def close(self): pass
    def send(self, text, ask, cancel):
        said = ""
        while not cancel.wait(0.01):
            said += "One more sentence. "
            yield Token("One more sentence. ")
        yield Finished(answer(said, reason="cancelled"))

command.open_turns = lambda *_: Endless()
from avengers_edge.__main__ import main
sys.argv = ["avengers", "chat"]
main()
"""


LOADING_FOREVER = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from avengers_edge import runtime
from avengers_edge.api import embedded
from avengers_edge.engine import memory, model_pool, spawn, worker_process

class Need:
    weights, kv_per_cell, compute, layers = 1, 0, 0, 1
    total = lambda self, cells: 1

def start_worker(name, command=None):  # one that says nothing
    print("loading", name, file=sys.stderr, flush=True)
    return spawn.start_worker(name, (sys.executable, {tests!r} + "/worker_child.py", "mute"))

worker_process.start_worker = start_worker
embedded.FeatureEmbedder = lambda embedder: embedder
embedded.open_sentence_embedder = lambda settings: None
runtime.open_model_pool = lambda settings: model_pool.ModelPool(pathlib.Path, lambda path: Need(), settings)
from avengers_edge.__main__ import main
sys.argv = ["avengers", "chat", "--team", "solo", "--no-log"]
main()
"""


@pytest.fixture
def terminal(home):
    """A chat with an endless answer on a terminal of 80 columns; closes when the test ends."""
    with on_terminal(ON_A_TERMINAL) as (process, ours):
        yield process, ours


@contextlib.contextmanager
def on_terminal(code):
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    ours, theirs = pty.openpty()
    code = code.format(tests=str(Path(__file__).parents[1] / "support"))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(OSError):
            os.close(ours)
        process.kill()
        process.wait()


def wait_for(ours, wanted, heard=b""):
    """Reads what the terminal shows until it is there; answers when it is asked where the cursor is."""
    until = time.monotonic() + 60
    while wanted not in heard:
        assert time.monotonic() < until, heard[-2000:]
        if select.select([ours], [], [], 1)[0]:
            said = os.read(ours, 65536)
            if b"\x1b[6n" in said:
                os.write(ours, b"\x1b[1;1R")
            heard += said
    return heard


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), ()])
def test_a_terminal_that_is_closed_or_a_kill_in_the_middle_of_an_answer_loses_nothing(terminal, store, signals):
    process, ours = terminal
    wait_for(ours, b">")
    os.write(ours, b"tell me\r")
    wait_for(ours, b"more sentence")
    for number in signals:
        process.send_signal(number)
    if not signals:
        # Whoever closes a terminal has the system send SIGHUP; here no terminal controls the process.
        process.send_signal(signal.SIGHUP)
        os.close(ours)
    process.wait(60)
    question, said = store.last().turns
    assert question == Turn("user", "tell me")
    assert said.content.startswith("One more sentence. ")
    assert not said.complete
    assert [hit.conversation.id for hit in store.search("sentence")] == [1]


def test_ctrl_c_on_a_terminal_stops_the_answer_and_the_chat_goes_on(terminal, store):
    process, ours = terminal
    wait_for(ours, b">")
    os.write(ours, b"tell me\r")
    wait_for(ours, b"more sentence")
    process.send_signal(signal.SIGINT)
    wait_for(ours, b"stopped")
    wait_for(ours, b">")
    os.write(ours, b"/exit\r")
    assert process.wait(60) == 0
    assert not store.last().turns[1].complete


def test_ctrl_d_leaves_though_the_model_is_still_being_loaded(run):  # noqa: F811
    with on_terminal(LOADING_FOREVER) as (process, ours):
        wait_for(ours, b"loading smollm2-135m-instruct")
        os.write(ours, b"\x04")
        assert process.wait(60) == 0  # the load itself would be given up after two minutes


def test_keys_typed_while_an_answer_is_drawn_are_not_shown_before_the_next_prompt_reads_them(terminal, store):
    process, ours = terminal
    wait_for(ours, b">")
    os.write(ours, b"tell me\r")
    wait_for(ours, b"more sentence")
    os.write(ours, b"typed ahead\r")
    drawn = wait_for(ours, b"more sentence. One more")
    process.send_signal(signal.SIGINT)
    drawn = wait_for(ours, b"stopped", drawn)
    assert b"ahead" not in drawn
    wait_for(ours, b"more sentence")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert [turn.content for turn in store.last().turns if turn.role == "user"] == ["tell me", "typed ahead"]


def test_export_of_what_was_said_is_what_was_said(chat, run):  # noqa: F811
    chat(f"{TALE}\n", texts=["Once."])
    exported = json.loads(run("chats", "show", "1", "--json").stdout)
    assert [turn["content"] for turn in exported["turns"]] == [TALE, "Once."]
    assert exported["turns"][1]["model"] == "smollm2-135m-instruct:think"
    assert CliRunner().invoke(cli, ["chats", "list"]).stdout.endswith(f"2 turns  {TALE}\n")


def test_the_event_that_ctrl_c_sets_ends_a_turn_that_waits_for_a_loaded_model():
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    with Turns(Embedding(engine=Endless()).team) as turns:
        last = list(turns.send("Tell me a tale", Ask(), cancel))[-1]
    assert (last.answer.text, last.answer.samples[0].finish_reason) == ("Once", "cancelled")
