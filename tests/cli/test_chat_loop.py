"""The loop of a chat, with what is typed, shown and answered known beforehand."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import threading

import pytest
from chat_fakes import RecordingDisplay, ScriptedReader, ScriptedTurns, noted, streamed, voted

from avengers_edge.cli.chat.chat_loop import Loop, Transcript
from avengers_edge.cli.chat.slash_commands import Actions
from avengers_edge.cli.chat.turns import BackgroundTurns
from avengers_edge.errors import BadRequest, Cancelled, EngineDied, NotFound
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore, TurnWriter
from avengers_edge.history.conversations import Facts, Turn
from avengers_edge.records import Message, Token

KNOWN = {"members": ["auto", "small:think", "small:direct"], "teams": ["one", "two"], "code": ["code"]}
FACTS = Facts("small:think", (), 1, 2.0)


class Chat:
    """A chat that ran to its end."""

    def __init__(self, store, lines, scripts, keep=True):
        self.display, self.turns, self.reader = RecordingDisplay(), ScriptedTurns(*scripts), ScriptedReader(*lines)
        self.opened = []

        def open_turns(team):
            self.opened.append(team)
            return self.turns

        self.talk = Transcript((lambda: store) if keep else None, "one", None, self.display.say)
        self.opening = BackgroundTurns(open_turns)
        actions = Actions(KNOWN.__getitem__, (lambda: store) if keep else None, 1000)
        self.loop = Loop(self.reader, self.display, self.opening, self.talk, actions)
        self.code = self.loop.run()
        self.opening.close()

    def said(self, what="say"):
        return self.display.said(what)


@pytest.fixture
def store(home):
    with ConversationStore(home / FILE_NAME, timeout=0.05) as store:
        yield store


@pytest.fixture
def chat(store):
    """Has a chat with these lines and scripted answers; memory and store agree whenever something is kept."""

    def run(*lines, scripts=(), keep=True):
        done = Chat(store, lines, scripts, keep)
        if keep and done.talk.id is not None and not any("is not kept" in said for said in done.said()):
            assert store.read(done.talk.id).turns == tuple(done.talk.turns)
        return done

    return run


def test_what_is_thought_is_shown_as_such_and_neither_kept_nor_said_again(chat):
    pieces = ["<think>", "Hm ", "</th", "ink>\n\n", "Good ", "day."]
    done = chat("Hello?", "And you?", scripts=[streamed(*pieces), streamed("Fine.")])
    kinds = [told for told in done.display.told if told[0] in ("thought", "piece")]
    assert kinds == [("thought", "Hm "), ("piece", "Good "), ("piece", "day."), ("piece", "Fine.")]
    assert [turn.content for turn in done.talk.turns] == ["Hello?", "Good day.", "And you?", "Fine."]
    assert done.turns.asked[1][1].history == (Message("user", "Hello?"), Message("assistant", "Good day."))


def test_thoughts_of_conversations_that_were_kept_are_not_said_again():
    talk = Transcript(None, "one", None, print)
    talk.turns += [Turn("user", "Hello?"), Turn("assistant", "<think>Hm</think>Good day."), Turn("user", "And you?")]
    talk.turns += [Turn("assistant", "<think>Hm"), Turn("user", "Well?")]
    assert talk.history() == (Message("user", "Hello?"), Message("assistant", "Good day."))


def test_a_question_is_streamed_kept_and_remembered(chat, store):
    done = chat("Hello?", "", "  ", "And you?", scripts=[streamed("Good ", "day."), streamed("Fine.")])
    assert done.display.told == [
        ("begin",),
        ("piece", "Good "),
        ("piece", "day."),
        ("end", "Good day.", False),
        ("begin",),
        ("piece", "Fine."),
        ("end", "Fine.", False),
    ]
    assert done.turns.asked[1][0] == "And you?"
    assert done.turns.asked[1][1].history == (Message("user", "Hello?"), Message("assistant", "Good day."))
    assert store.read(1).title == "Hello?"
    assert store.read(1).turns[1] == Turn("assistant", "Good day.", FACTS)
    assert (done.code, done.turns.warmed, done.turns.closed) == (0, 1, 1)


def test_a_vote_is_told_as_it_stands_and_kept_as_it_ended(chat):
    done = chat("How many?", "/votes", scripts=[voted("42", 2, [("41", 1)])])
    assert [at for at in done.display.told if at[0] == "vote"] == [
        ("vote", 0, 3, None),
        ("vote", 1, 3, "42"),
        ("vote", 2, 3, "42"),
    ]
    assert done.talk.turns[1].facts.votes == (("42", 2), ("41", 1))
    (drawn,) = done.said()
    assert [line.split()[0] for line in drawn.replace("\x1b[2m", "").splitlines()] == ["42", "41"]


def test_nothing_is_kept_where_nothing_is_to_be_kept(chat, store):
    done = chat("Hello?", "/undo", "Again?", scripts=[streamed("a"), streamed("b")], keep=False)
    assert [turn.content for turn in done.talk.turns] == ["Again?", "b"]
    assert not store.path.exists()


def test_a_chat_in_which_nothing_is_said_leaves_no_conversation(chat, store):
    chat("/help", "/system Be brief.", "/clear", "/exit")
    assert store.count() == 0


def test_exit_leaves_at_once(chat):
    assert chat("/exit", "Hello?").turns.asked == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal for one process")
def test_ctrl_c_stops_the_answer_and_only_that(chat):
    ended = []  # as a program is that runs

    def interrupt(cancel):
        with cancel.calling(lambda: ended.append("program")):
            os.kill(os.getpid(), signal.SIGINT)
            assert cancel.wait(30)

    before = signal.getsignal(signal.SIGINT)
    stopped = [Token("Half a"), interrupt, *streamed("Half a", reason="cancelled")[1:]]
    done = chat("Tell me", "More", scripts=[stopped, streamed("fine")])
    assert ended == ["program"]
    assert ("end", "Half a", True) in done.display.told
    assert done.talk.turns[1] == Turn("assistant", "Half a", dataclasses.replace(FACTS, samples=0), complete=False)
    assert done.talk.turns[3].content == "fine"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal for one process")
def test_a_second_ctrl_c_does_not_wait_for_the_engine_and_nothing_is_lost(chat):
    def interrupt_twice(cancel):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(30)

    done = chat("Tell me", "More", scripts=[[Token("Half a"), interrupt_twice], streamed("fine")])
    assert done.talk.turns[1] == Turn("assistant", "Half a", complete=False)
    assert ("end", None, True) in done.display.told
    assert done.talk.turns[3].content == "fine"


def test_what_was_stopped_before_it_began_is_no_answer(chat):
    done = chat("Tell me", "More", scripts=[[Cancelled("stopped")], streamed("fine")])
    assert [turn.content for turn in done.talk.turns] == ["Tell me", "More", "fine"]
    assert done.turns.asked[1][1].history == ()  # a question without an answer is nothing a model expects


def test_an_error_is_one_complaint_its_code_is_kept_and_the_chat_goes_on(chat):
    died = [Token("Half a"), EngineDied("it died: try again")]
    done = chat("Tell me", "More", "/wat", "/regen", scripts=[died, streamed("fine"), streamed("better")])
    assert done.said("show_error")[0] == "it died: try again"
    assert "did you mean /why?" in done.said("show_error")[1]
    assert ("end", None, False) in done.display.told
    assert [turn.content for turn in done.talk.turns] == ["Tell me", "Half a", "More", "better"]
    assert done.code == BadRequest.exit_code


def test_an_interrupt_or_a_bad_line_at_the_prompt_ends_nothing(chat):
    done = chat(KeyboardInterrupt(), BadRequest("line 2 is not UTF-8"), "Hello?", scripts=[streamed("a")])
    assert done.said("show_error") == ["line 2 is not UTF-8"]
    assert len(done.talk.turns) == 2


def test_a_note_comes_before_the_answer(chat):
    assert chat("Hello?", scripts=[noted("two are left out", "a")]).said("note") == ["two are left out"]


def test_regenerating_answers_the_same_question_with_the_same_past(chat):
    scripts = [streamed("1"), streamed("2"), streamed("II")]
    done = chat("one", "two", "/regen", scripts=scripts)
    assert [turn.content for turn in done.talk.turns] == ["one", "1", "two", "II"]
    (_, first), (question, again) = done.turns.asked[1:]
    assert (question, again) == ("two", dataclasses.replace(first, samples=1))  # drawn: a greedy one would come again


def test_a_vote_is_held_again_as_it_was_and_so_is_a_question_without_an_answer(chat):
    done = chat(
        "one", "/regen", "two", "/regen", scripts=[voted("5", 3), voted("6", 3), [Cancelled("")], streamed("2")]
    )
    assert [ask.samples for _, ask in done.turns.asked] == [None] * 4


def test_what_the_user_chose_holds_for_another_try(chat):
    done = chat("one", "/samples 5", "/regen", scripts=[streamed("1"), voted("2", 5)])
    assert [ask.samples for _, ask in done.turns.asked] == [None, 5]


def test_undo_takes_back_and_offers_the_question_again(chat):
    done = chat("one", "two", "/undo", "/undo", "/undo", scripts=[streamed("1"), streamed("2")])
    assert done.reader.defaults == ["", "", "", "two", "one", ""]
    assert done.talk.turns == []
    assert done.said("show_error") == ["there is nothing to take back"]


def test_model_samples_and_system_hold_for_the_turns_to_come(chat, store):
    lines = ["/model small:direct", "/samples 5", "/system Be brief.", "Hello?", "/model auto", "/samples auto"]
    done = chat(*lines, "/system none", "Hello?", scripts=[streamed("a"), streamed("b")])
    first, second = (ask for _, ask in done.turns.asked)
    assert (first.member, first.samples, first.system) == ("small:direct", 5, "Be brief.")
    assert (second.member, second.samples, second.system) == (None, None, None)
    assert store.read(1).system is None


def test_settings_are_shown_without_an_argument(chat):
    said = chat("/model", "/team", "/system", "/samples").said()
    assert [line.split(":")[0] for line in said] == ["model", "team", "system prompt", "samples"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/model smal:think", "there is no member 'smal:think': did you mean small:think?"),
        ("/team three", "there is no team 'three': did you mean"),
        ("/samples many", "/samples takes a number or auto, not 'many'"),
        ("/samples 0", "samples is 0: use 1 to"),
        ("/regen", "there is no question to be answered again"),
        ("/why", "nothing was answered"),
        ("/votes", "no vote was held"),
        ("/copy", "there is no answer to be copied"),
        ("/read", "which file? /read FILE"),
        ("/read nowhere.txt", "there is no file nowhere.txt"),
        ("/save", "which file? /save FILE"),
        ("/load", "which file? /load FILE"),
        ("/load 77", "there is no conversation 77"),
        ("/load nowhere.json", "there is no file nowhere.json"),
    ],
)
def test_what_cannot_be_done_is_one_line(chat, line, complaint):
    (said,) = chat(line).said("show_error")
    assert said.startswith(complaint)
    assert "\n" not in said


def test_another_team_is_opened_and_the_old_one_freed(chat, store):
    done = chat("Hello?", "/team two", "Hello?", scripts=[streamed("a"), streamed("b")])
    assert (done.opened, done.turns.closed) == (["one", "two"], 2)
    assert store.read(1).team == "two"


def test_why_shows_the_ranking(chat):
    (drawn,) = chat("Hello?", "/why", scripts=[streamed("a")]).said()
    assert "cluster 3" in drawn
    assert "small:think" in drawn


def test_a_file_goes_with_the_next_question_only(chat, tmp_path):
    (tmp_path / "notes.txt").write_text("Cats purr.", encoding="utf-8")
    done = chat(f"/read {tmp_path / 'notes.txt'}", "Why?", "And?", scripts=[streamed("a"), streamed("b")])
    assert done.turns.asked[0][0] == "Why?\n\nnotes.txt:\n```\nCats purr.\n```"
    assert done.turns.asked[1][0] == "And?"
    assert done.said() == ["notes.txt: 10 characters will go with your next question"]


def test_a_file_that_could_never_fit_is_refused_with_both_numbers(chat, tmp_path):
    (tmp_path / "big.txt").write_text("x" * 1001, encoding="utf-8")
    (said,) = chat(f'/read "{tmp_path / "big.txt"}"').said("show_error")
    assert "1001 bytes" in said
    assert "1000" in said


def test_what_is_saved_is_loaded_again(chat, store, tmp_path):
    saved, text = tmp_path / "talk.json", tmp_path / "talk.md"
    chat("Hello?", f"/save {saved}", f"/save {text}", scripts=[streamed("Good day.")])
    assert json.loads(saved.read_text(encoding="utf-8"))["turns"][1]["content"] == "Good day."
    assert text.read_text(encoding="utf-8").startswith("# Hello?\n")
    done = chat(f"/load {saved}", "More?", scripts=[streamed("b")])
    assert [turn.content for turn in done.talk.turns] == ["Hello?", "Good day.", "More?", "b"]
    assert done.talk.id == 2
    assert "conversation 2: Hello? (2 turns, team one)\n> Hello?\nGood day." in done.said()
    again = chat("/load 1", "Third?", f"/save {saved}", scripts=[streamed("c")])
    assert again.talk.id == 1
    assert again.said("show_error") == [f"{saved} is there already: choose another name"]
    nowhere = chat("/load 1", f"/load {saved}", keep=False)
    assert "--no-log" in nowhere.said("show_error")[0]
    assert len(nowhere.talk.turns) == 2
    assert store.count() == 2


def test_what_cannot_be_saved_whole_is_not_there(chat, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    done = chat("Hello?", f"/save {tmp_path / 'talk.md'}", scripts=[streamed("Good day.")], keep=False)
    assert done.said("show_error") == [
        f"{tmp_path / 'talk.md'} cannot be written (No space left on device): choose another place"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_question_with_a_file_is_asked_in_the_same_way_again(chat, tmp_path):
    (tmp_path / "sum.py").write_text("def add(a, b):\n    return a + b\n", encoding="utf-8")
    read = f"/read {tmp_path / 'sum.py'}"
    first = chat(read, "How many lines has it?", "/regen", scripts=[streamed("2"), streamed("2")])
    (asked, ask), again = first.turns.asked
    assert ask.kind == "number"
    assert again == (asked, dataclasses.replace(ask, samples=1))
    resumed = chat("/load 1", "/undo", asked, "/regen", scripts=[streamed("2"), streamed("2")])
    assert resumed.reader.defaults[2] == asked
    assert [ask.kind for _, ask in resumed.turns.asked] == ["number", "number"]


def test_clear_begins_anew_and_keeps_the_old(chat, store):
    done = chat("one", "/clear", "two", scripts=[streamed("1"), streamed("2")])
    assert done.turns.asked[1][1].history == ()
    assert [each.title for each in store.recent()] == ["two", "one"]


def test_copy_takes_the_answer_or_its_code(chat, monkeypatch):
    copied = []
    monkeypatch.setattr("avengers_edge.cli.chat.slash_commands.copy", lambda text: copied.append(text) or "a fake")
    code = "Look:\n```python\nx = 1\n```\n"
    done = chat("q", "/copy", "/copy code", "/copy all", "r", "/copy code", scripts=[streamed(code), streamed("b")])
    assert copied == [code, "x = 1"]
    assert len(done.said("show_error")) == 2


def test_a_store_that_fails_is_told_once_and_the_chat_goes_on(chat, store, home):
    store.begin("t")
    other = sqlite3.connect(home / FILE_NAME, isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN EXCLUSIVE")
        done = chat("one", "two", scripts=[streamed("1"), streamed("2")])
    (told,) = done.said()
    assert "locked by another program" in told
    assert told.endswith("From here on this conversation is not kept: /save writes it to a file")
    assert [turn.content for turn in done.talk.turns] == ["one", "1", "two", "2"]


def test_a_store_that_fails_in_the_middle_of_an_answer_is_told_once_and_not_asked_again(chat, store, home, monkeypatch):
    store.begin("t")
    writes, update = [], TurnWriter.update
    monkeypatch.setattr(TurnWriter, "update", lambda self, text: writes.append(text) or update(self, text))
    with contextlib.closing(sqlite3.connect(home / FILE_NAME, isolation_level=None)) as other:
        answer = streamed("One. ", "Two. ", "Three. ", "Four.")
        script = [*answer[:1], lambda _: other.execute("BEGIN EXCLUSIVE") and None, *answer[1:]]
        done = chat("Count", "And on", scripts=[script, streamed("Five.")])
    (told,) = done.said()
    assert "locked by another program" in told
    assert writes == ["One. ", "One. Two. "]
    assert [turn.content for turn in done.talk.turns] == ["Count", "One. Two. Three. Four.", "And on", "Five."]
    assert store.read(2).turns[1:] == (Turn("assistant", "One. ", complete=False),)


@pytest.mark.parametrize("command", ["/undo", "/regen"])
def test_what_another_chat_said_in_the_same_conversation_is_not_taken_back(chat, store, command):
    def elsewhere():
        store.append(1, Turn("user", "And elsewhere?"))
        store.append(1, Turn("assistant", "Here."))
        return command

    done = chat("Hello?", elsewhere, "/load 1", scripts=[streamed("Good day.")])
    (said,) = done.said("show_error")
    assert said.startswith("another chat has gone on with conversation 1, so nothing is taken back: /load 1")
    assert [turn.content for turn in store.read(1).turns] == ["Hello?", "Good day.", "And elsewhere?", "Here."]


def test_a_team_that_cannot_be_opened_is_tried_again_with_the_next_question(store):
    attempts = iter([NotFound("team one is not set up: avengers setup one"), ScriptedTurns(streamed("a"))])

    def open_turns(team):
        result = next(attempts)
        if isinstance(result, Exception):
            raise result
        return result

    display, talk = RecordingDisplay(), Transcript(None, "one", None, print)
    loop = Loop(ScriptedReader("x", "y"), display, BackgroundTurns(open_turns), talk, lambda *_: None)
    assert loop.run() == NotFound.exit_code
    assert display.said("show_error") == ["team one is not set up: avengers setup one"]
    assert talk.turns[-1].content == "a"


def test_ctrl_c_does_not_wait_for_a_team_that_is_being_opened():
    let_go, cancel = threading.Event(), threading.Event()
    turns = ScriptedTurns()

    def open_slowly(team):
        let_go.wait(30)
        return turns

    opening = BackgroundTurns(open_slowly)
    cancel.set()
    with pytest.raises(Cancelled):
        opening.get("one", cancel)
    let_go.set()
    assert opening.get("one", threading.Event()) is turns
    opening.close()
    opening.close()
    assert turns.closed == 1
