"""The prompt, fed with the bytes that a terminal sends."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.output import DummyOutput

from avengers_edge.cli.chat.terminal_prompt import (
    LONG,
    PROMPT,
    CommandCompleter,
    InputHistory,
    Pastes,
    TerminalReader,
    edit,
)
from avengers_edge.errors import AvengersError

KNOWN = {"members": ["auto", "small:think"], "teams": ["one"], "code": ["code"]}
CTRL_A, CTRL_C, CTRL_D, CTRL_G, CTRL_R, ESCAPE = "\x01", "\x03", "\x04", "\x07", "\x12", "\x1b"
ENTER, ALT_ENTER = "\r", "\x1b\r"
posix = pytest.mark.skipif(os.name == "nt", reason="the pipe stands for a POSIX terminal")


def pasted(text):
    return f"\x1b[200~{text}\x1b[201~"


class Typist:
    """Types into prompts of one session and reads what they give."""

    def __init__(self, history, sink=None, **options):
        self.told = []
        self._stack = contextlib.ExitStack()
        self._pipe = self._stack.enter_context(create_pipe_input())
        self.reader = TerminalReader(
            history, KNOWN.__getitem__, self.told.append, source=self._pipe, sink=sink or DummyOutput(), **options
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def send(self, keys):
        """Types from another thread: a pipe holds less than a long paste, and who reads it is this one."""
        content = keys if isinstance(keys, bytes) else keys.encode()
        typing = threading.Thread(target=self._pipe.send_bytes, args=(content,))
        typing.start()
        return typing

    @contextlib.contextmanager
    def later(self, seen, keys):
        """Goes on typing as soon as something is seen."""

        def watch():
            for _ in range(6000):
                if seen():
                    break
                time.sleep(0.01)
            self.send(keys).join()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            watching.join()

    @property
    def line(self):
        return self.reader._session.default_buffer.text

    @property
    def is_navigating(self):
        return self.reader._session.app.vi_state.input_mode == InputMode.NAVIGATION

    def read(self, keys, default=""):
        typing = self.send(keys)
        try:
            return self.reader.read(default)
        finally:
            typing.join()


@pytest.fixture
def history(home):
    return InputHistory(home / "chat_history")


@pytest.fixture
def typist(history):
    with Typist(history) as typist:
        yield typist


def test_a_line_is_what_was_typed(typist):
    assert typist.read("hello" + ENTER) == "hello"
    assert typist.read("äöü 素 🎉" + ENTER) == "äöü 素 🎉"
    assert typist.read("b" + ENTER, default="a") == "ab"


def test_ctrl_c_clears_the_line_and_ctrl_d_leaves_an_empty_one(typist):
    assert typist.read("wrong" + CTRL_C + "right" + ENTER) == "right"
    with pytest.raises(EOFError):
        typist.read(CTRL_C + CTRL_D)
    assert typist.read("ab" + CTRL_A + CTRL_D + ENTER) == "b"  # on a line it deletes, as in a shell


def test_several_lines_stand_between_marks_or_behind_alt_enter(typist):
    assert typist.read('"""one' + ENTER + "two" + ENTER + 'three"""' + ENTER) == "one\ntwo\nthree"
    assert typist.read('"""' + ENTER + '"quoted"' + ENTER + '"""' + ENTER) == '"quoted"'
    assert typist.read("one" + ALT_ENTER + "two" + ENTER) == "one\ntwo"


def test_a_paste_of_several_lines_is_not_sent_line_by_line(typist):
    assert typist.read("see: " + pasted("one\r\ntwo\rthree\n") + "end" + ENTER) == "see: one\ntwo\nthree\nend"


def test_a_long_paste_is_drawn_as_one_line_and_sent_whole(typist):
    paste = "word " * LONG
    assert typist.read("sum up " + pasted(paste) + " now" + ENTER) == f"sum up {paste} now"
    assert typist.read(pasted(paste) + pasted(paste + "2") + ENTER) == paste + paste + "2"


def test_a_paste_of_ten_megabytes_arrives_whole(typist):
    paste = "0123456789 words\n" * 620_000
    same = typist.read(pasted(paste) + ENTER) == paste  # pytest would explain a difference for hours
    assert same


@pytest.mark.parametrize("size", [1023 - 6, 1024 - 6, 1025 - 6, 1026 - 6, 1030 - 6, 1031 - 6, 2048 - 6, 5000])
def test_the_end_of_a_paste_is_found_wherever_the_reading_cuts_it(typist, size):
    assert typist.read(pasted("x" * size) + "y" + ENTER) == "x" * size + "y"


def test_a_stand_in_that_was_only_typed_is_text():
    pastes = Pastes()
    stand_in = pastes.shorten("x" * 5000)
    assert pastes.expand(f"a {stand_in} b") == f"a {'x' * 5000} b"
    for typed in (
        "[paste 2: 5000 characters, 1 lines]",
        "[paste 1: 4000 characters, 1 lines]",
        "[paste 0: 1 characters]",
    ):
        assert pastes.expand(typed) == typed
    assert pastes.shorten("short") == "short"


@posix
def test_bytes_that_are_no_utf8_are_replaced_and_that_is_said(typist):
    assert typist.read(b"caf\xe9 ok" + ENTER.encode()) == "caf\ufffd ok"
    assert typist.told == ["some of that was not UTF-8: it is replaced by \ufffd"]


def test_vi_keys_are_there_where_they_are_wanted(history):
    with Typist(history, vi=True) as typist, typist.later(lambda: typist.is_navigating, "0x" + ENTER):
        typing = typist.send("abc" + ESCAPE)
        assert typist.reader.read() == "bc"
        typing.join()


def test_what_was_typed_is_found_again_in_the_next_chat(home, history):
    with Typist(history) as typist:
        typist.read("first question" + ENTER)
        typist.read('"""two' + ENTER + 'lines"""' + ENTER)
    with Typist(InputHistory(home / "chat_history")) as typist:
        assert typist.read(CTRL_R + "first" + ENTER + ENTER) == "first question"
    assert list(InputHistory(home / "chat_history").load_history_strings())[-1] == "first question"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_the_history_is_private(home, history):
    history.append_string("secret")
    assert stat.S_IMODE((home / "chat_history").stat().st_mode) == 0o600


def test_a_chat_that_keeps_nothing_adds_nothing_to_the_history(home, history):
    history.append_string("kept")
    silent = InputHistory(home / "chat_history", keep=False)
    silent.append_string("not kept")
    assert list(InputHistory(home / "chat_history").load_history_strings()) == ["kept"]


def test_a_damaged_history_is_only_less_to_search(home):
    home.mkdir()
    path = home / "chat_history"
    path.write_bytes(b'"good"\n{"no": 1}\n\xff\xfe\n[[[\n"half')
    history = InputHistory(path)
    assert list(history.load_history_strings()) == ["good"]
    history.append_string("more \udce9")
    path.unlink()
    path.mkdir()
    history.append_string("nowhere")
    assert list(InputHistory(path).load_history_strings()) == []


def test_a_long_history_forgets_the_oldest(home):
    home.mkdir()
    path = home / "chat_history"
    path.write_bytes(b"".join(b'"%d %s"\n' % (place, b"x" * 1000) for place in range(3000)))
    path.chmod(0o600)
    entries = list(InputHistory(path).load_history_strings())
    assert entries[0].startswith("2999 ")
    assert path.stat().st_size <= 2**20
    assert list(InputHistory(path).load_history_strings()) == entries
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def editor_that(tmp_path, code):
    script = tmp_path / "editor.py"
    script.write_text(code, encoding="utf-8")
    quote = '"' if os.name == "nt" else "'"
    return f"{quote}{sys.executable}{quote} {quote}{script}{quote}"


def test_ctrl_g_has_the_text_edited_and_more_can_be_typed(typist, tmp_path, monkeypatch):
    code = "import sys, pathlib; p = pathlib.Path(sys.argv[-1]); p.write_text(p.read_text() + ' edited\\nagain\\n')"
    monkeypatch.setenv("VISUAL", editor_that(tmp_path, code))
    monkeypatch.setenv("EDITOR", "not this one")
    with typist.later(lambda: "edited" in typist.line, "!" + ENTER):
        typing = typist.send("draft" + CTRL_G)
        assert typist.reader.read() == "draft edited\nagain!"
        typing.join()


@pytest.mark.parametrize(
    ("editor", "complaint"),
    [
        ("import sys; sys.exit(3)", "Editing failed"),
        ("import os, sys; os.remove(sys.argv[-1])", "No such file"),
        (None, "/no/such/editor"),
    ],
)
def test_an_editor_that_fails_is_one_line_and_the_text_is_kept(typist, tmp_path, monkeypatch, editor, complaint):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "/no/such/editor" if editor is None else editor_that(tmp_path, editor))
    with typist.later(lambda: typist.told, ENTER):
        typing = typist.send("draft" + CTRL_G)
        assert typist.reader.read() == "draft"
        typing.join()
    (told,) = typist.told
    assert complaint in told
    assert "the text is as it was" in told
    assert "\n" not in told


def test_what_an_editor_left_in_another_encoding_is_replaced(tmp_path, monkeypatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor_that(tmp_path, "import sys; open(sys.argv[-1], 'wb').write(b'caf\\xe9')"))
    assert edit("draft") == "caf\ufffd"


def completed(before):
    found = CommandCompleter(KNOWN.__getitem__).get_completions(Document(before), CompleteEvent())
    return [before[: len(before) + each.start_position] + each.text for each in found]


def test_commands_names_and_files_are_completed(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert completed("/re") == ["/regen", "/read"]
    assert completed("/model s") == ["/model small:think"]
    assert completed("/team ") == ["/team one"]
    assert completed(f"/read {tmp_path}/no") == [f"/read {tmp_path}/notes.txt"]
    assert completed("re") == completed("say /re") == completed("/help x") == []


def test_the_first_prompt_says_that_it_stands_and_the_others_do_not(history):
    stood = []
    with Typist(history, on_ready=lambda: stood.append(1)) as typist:
        typist.read("a" + ENTER)
        typist.read("b" + ENTER)
    assert stood == [1]


WIDTH = 20


class Narrow(DummyOutput):
    """A terminal of 20 columns and 10 lines."""

    def get_size(self):
        return Size(rows=10, columns=WIDTH)


@pytest.fixture
def narrow(history):
    """Types on a narrow terminal; `seen` are the screens it showed, each a list of lines."""

    def remember(app):
        screen = app.renderer.last_rendered_screen
        if screen is not None:
            rows = [screen.data_buffer[row] for row in range(screen.height)]
            assert all(column < WIDTH or row[column].char == " " for row in rows for column in row)
            typist.seen.append(["".join(row[column].char for column in range(WIDTH)).rstrip() for row in rows])

    with Typist(history, Narrow()) as typist:
        typist.seen = []
        typist.reader._session.app.after_render += remember
        yield typist


@pytest.mark.parametrize("text", ["short", "x" * 18, "one word after another, and no end of it " * 3, "素" * 30])
def test_on_a_terminal_of_20_columns_all_that_was_typed_is_seen_and_sent(narrow, text):
    def lines_behind_the_prompt():
        return ["".join(line[len(PROMPT) :] for line in screen).replace(" ", "") for screen in narrow.seen]

    wanted = text.replace(" ", "")
    with narrow.later(lambda: wanted in lines_behind_the_prompt(), ENTER):
        typing = narrow.send(text)
        assert narrow.reader.read() == text
        typing.join()
    assert wanted in lines_behind_the_prompt()
    assert all(screen[0].startswith(PROMPT.rstrip()) for screen in narrow.seen)


def test_on_a_terminal_of_20_columns_a_long_paste_stands_there_and_commands_are_completed(narrow):
    paste, stands_there = "word " * LONG, lambda: narrow.seen and narrow.seen[-1][0].startswith("> [paste 1: ")
    with narrow.later(stands_there, ENTER):
        typing = narrow.send(pasted(paste))
        assert narrow.reader.read() == paste
        typing.join()
    assert "> [paste 1: 20000 ch" in [screen[0] for screen in narrow.seen]
    assert "  aracters, 1 lines]" in [screen[1] for screen in narrow.seen if len(screen) > 1]
    with narrow.later(lambda: any("/regen" in line for line in narrow.seen[-1][1:]), "gen" + ENTER):
        typing = narrow.send("/re")
        assert narrow.reader.read() == "/regen"
        typing.join()


def test_names_that_cannot_be_read_complete_nothing(history):
    def broken(kind):
        raise AvengersError("no such team")

    found = CommandCompleter(broken).get_completions(Document("/team x"), CompleteEvent())
    assert list(found) == []
