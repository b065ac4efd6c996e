"""The Qt example works off screen: it answers as it is written, never waits, stops, and says what is wrong."""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from pathlib import Path

import pytest
from api_fakes import SUM, TALE, Embedding, solo_home

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip("PySide6.QtWidgets", reason="the extra qt is not installed", exc_type=ImportError)
from PySide6.QtCore import Qt, QTimer  # noqa: E402
from PySide6.QtTest import QTest  # noqa: E402

from avengers_edge import Avengers, EngineDied  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "qt_chat.py"
LONG = 120  # seconds a test waits for what must come


@pytest.fixture(scope="module")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("qt_chat", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def show(app, example):
    """Shows a window on a team; closes both."""
    shown = []

    def show(team):
        window = example.ChatWindow(team)
        window.show()
        shown.append((window, team))
        return window

    yield show
    for window, team in shown:
        team.close()
        app.processEvents()
        window.close()
        window.deleteLater()
    app.processEvents()


@pytest.fixture
def comes(app):
    """Lets the window live until something is so."""

    def comes(what):
        end = time.monotonic() + LONG
        while not what():
            assert time.monotonic() < end, "it did not come"
            app.processEvents()
            time.sleep(0.001)
        return True

    return comes


def ask(window, text):
    QTest.keyClicks(window.field, text)
    QTest.keyClick(window.field, Qt.Key.Key_Return)


def press(window):
    QTest.mouseClick(window.button, Qt.MouseButton.LeftButton)


def said(window):
    return window.text.toPlainText()


def test_an_answer_is_shown_as_it_is_written_and_stop_ends_it(show, comes):
    asked = Embedding("Once upon a time")
    asked.engine.hold.clear()
    window = show(asked.team)
    ticks = []
    timer = QTimer(window, interval=1)
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start()
    ask(window, TALE)
    assert comes(lambda: said(window) == f"{TALE}\nOnce")
    before = len(ticks)
    assert comes(lambda: len(ticks) > before + 20)  # the window lives while the engine stands still
    assert window.button.text() == "Stop"
    press(window)
    assert comes(lambda: window.pending is None)
    assert said(window).startswith(f"{TALE}\nOnce\nbig · ")
    assert window.button.text() == "Ask"
    assert [message.content for message in window.said] == [TALE, "Once"]
    QTest.keyClicks(window.focusWidget(), "More")
    assert window.field.text() == "More"


def test_escape_stops_too_and_the_line_below_tells_what_is_done(show, comes):
    asked = Embedding("Once upon a time")
    asked.engine.hold.clear()
    window = show(asked.team)
    ask(window, TALE)
    assert comes(lambda: window.status.text() == "writing …")
    QTest.keyClick(window.field, Qt.Key.Key_Escape)
    assert comes(lambda: window.pending is None)
    assert window.status.text() == "team pair"


def test_a_vote_is_counted_and_its_winner_shown_with_a_quiet_line(show, comes):
    asked = Embedding("It is 5. Answer: 5", "Answer: 5", "Answer: 5")
    window = show(asked.team)
    told, show_event = [], window.show_event

    def heard(event):
        show_event(event)
        told.append(window.status.text())

    window.happened.disconnect()
    window.happened.connect(heard)
    ask(window, SUM)
    assert comes(lambda: len(window.said) == 2 and window.pending is None)
    assert "5 leads · 1 of 3 samples · big" in told
    assert said(window).startswith(f"{SUM}\nIt is 5. Answer: 5\n=> 5\nbig · 2 of 2 votes · ")


def test_what_goes_wrong_is_said_and_the_next_question_is_answered(show, comes):
    asked = Embedding("Fine")
    asked.engine.error = EngineDied("big: it died; the next question starts it anew")
    window = show(asked.team)
    ask(window, TALE)
    assert comes(lambda: window.pending is None)
    assert "it died" in said(window)
    assert window.said == ()
    asked.engine.error = None
    ask(window, TALE)
    assert comes(lambda: window.pending is None)
    assert "Fine" in said(window)


def test_while_a_model_is_loaded_the_window_says_so(show, comes):
    loaded = threading.Event()
    asked = Embedding("Once")
    lease = asked.lease

    def slow(model):
        assert loaded.wait(LONG)
        return lease(model)

    asked.team._runtime._lease = slow
    window = show(asked.team)
    ask(window, TALE)
    assert comes(lambda: window.status.text() == "loading big …")
    assert window.bar.isVisible()
    loaded.set()
    assert comes(lambda: window.pending is None)
    assert not window.bar.isVisible()


def test_an_empty_question_is_none(show):
    window = show(Embedding().team)
    ask(window, "  ")
    assert window.pending is None
    assert said(window) == ""


@pytest.mark.native
def test_a_real_model_answers_and_is_stopped(show, comes, model_home, tmp_path):
    window = show(Avengers.open(home=solo_home(model_home, tmp_path / "solo")))
    assert comes(lambda: window.status.text() == "team solo")
    ask(window, "Tell me a tale of three cats.")
    assert comes(lambda: window.written and window.pending is not None)
    assert comes(lambda: window.pending is None)
    ask(window, "How many legs do 3 cats have?")
    assert comes(lambda: window.pending is None)
    ask(window, "Tell me another tale of a dog.")
    assert comes(lambda: window.written)
    press(window)
    assert comes(lambda: window.pending is None)
    told = said(window)
    assert told.count("smollm2-135m-instruct:direct · ") == 3
    shot = tmp_path / "window.png"
    assert window.grab().save(str(shot))
    assert shot.stat().st_size > 5000
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder, "qt_chat.png").write_bytes(shot.read_bytes())
