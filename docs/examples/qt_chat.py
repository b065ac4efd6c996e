"""A chat window on a local team: answers as they are written, votes as they are counted, a Stop button.

    python docs/examples/qt_chat.py [QUESTION]

The window never waits: the team works in threads of its own, and what they tell comes here through Qt's signals.
It needs PySide6-Essentials, the extra `qt`.
"""

from __future__ import annotations

import sys

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor, QKeySequence, QPalette, QShortcut, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from avengers_edge import (
    Answer,
    Ask,
    Avengers,
    AvengersError,
    Cancelled,
    Event,
    Finished,
    Loading,
    Message,
    Pending,
    Progress,
    Routed,
    Token,
    freeze_support,
)

STYLE = """
QWidget { font-size: 14px; }
QTextBrowser, QLineEdit { border: none; border-radius: 8px; background: palette(base); }
QLineEdit { padding: 10px; }
QPushButton { border: none; border-radius: 8px; padding: 10px 20px; }
QPushButton { background: palette(highlight); color: palette(highlighted-text); }
QPushButton:disabled { background: palette(mid); }
QProgressBar { border: none; max-height: 3px; background: transparent; }
QProgressBar::chunk { background: palette(highlight); }
"""


class ChatWindow(QWidget):
    """A conversation with a team."""

    happened = Signal(object)  # an Event; emitted in the team's threads, heard in the window's
    ended = Signal(object)  # a Pending
    warmed = Signal(object)  # a Pending

    def __init__(self, team: Avengers) -> None:
        super().__init__()
        self.team = team
        self.said: tuple[Message, ...] = ()
        self.pending: Pending[Answer] | None = None
        self.question, self.written = "", False
        self._build()
        self.happened.connect(self.show_event)
        self.ended.connect(self.show_end)
        self.warmed.connect(self.show_warmed)
        self.status.setText("loading the models …")
        self.bar.setVisible(True)
        team.warm().add_done_callback(self.warmed.emit)

    def ask(self, question: str) -> None:
        """Ask a question; what becomes of it is told to `show_event` and `show_end`."""
        if not question.strip() or self.pending is not None:
            return
        self.question, self.written = question, False
        self._write(f"{question}\n", bold=True)
        self.field.clear()
        self._set_busy("choosing who answers …")
        self.pending = self.team.submit(question, Ask(history=self.said), on_event=self.happened.emit)
        self.pending.add_done_callback(self.ended.emit)

    def stop(self) -> None:
        """End the answer; what there is of it is shown."""
        if self.pending is not None:
            self.pending.cancel()
            self.status.setText("stopping …")
            self.button.setEnabled(False)

    def show_event(self, event: Event) -> None:
        """Show what happens while an answer comes about."""
        match event:
            case Routed(route):
                self.status.setText(f"asking {route.ranking[0].model} …")
            case Loading(model):
                self.status.setText(f"loading {model} …")
            case Token(text):
                if not self.written:
                    self.status.setText("writing …")
                self.written = True
                self._write(text)
            case Progress(finished, samples, leader, member):
                leads = f"{leader.key} leads · " if leader else ""
                self.status.setText(f"{leads}{finished} of {samples} samples · {member}")
                self.bar.setRange(0, samples)
                self.bar.setValue(finished)
            case Finished(answer):
                if not self.written:
                    self._write(answer.text)
                if answer.votes and not answer.text.strip().startswith(answer.answer):
                    self._write(f"\n=> {answer.answer}", bold=True)
                self._write(f"\n{summary(answer)}\n\n", quiet=True)
                self.said = (*self.said, Message("user", self.question), Message("assistant", answer.text))

    def show_end(self, pending: Pending[Answer]) -> None:
        """Be ready for the next question, and say what went wrong with the last one."""
        error = pending.exception()
        if error is not None:
            self._write(f"{'stopped' if isinstance(error, Cancelled) else error}\n\n", quiet=True)
        self.pending = None
        self.button.setText("Ask")
        self.button.setEnabled(True)
        self.bar.setVisible(False)
        self.status.setText(f"team {self.team.team}")
        self.field.setFocus()

    def show_warmed(self, pending: Pending[None]) -> None:
        """Say that the team is ready, or why it is not."""
        if self.pending is None:
            self.bar.setVisible(False)
            self.status.setText(str(pending.exception() or f"team {self.team.team}"))

    def _build(self) -> None:
        self.setWindowTitle("Avengers Edge")
        self.setStyleSheet(STYLE)
        self.resize(640, 520)
        self.text = QTextBrowser()
        self.text.document().setDocumentMargin(14)
        self.bar = QProgressBar(textVisible=False)
        self.bar.setRange(0, 0)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.field = QLineEdit(placeholderText="Ask something")
        self.button = QPushButton("Ask")
        self.field.returnPressed.connect(lambda: self.ask(self.field.text()))
        self.button.clicked.connect(lambda: self.stop() if self.pending else self.ask(self.field.text()))
        QShortcut(QKeySequence.StandardKey.Cancel, self, self.stop)
        row = QHBoxLayout()
        row.addWidget(self.field)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        for part in (self.text, self.bar, self.status):
            column.addWidget(part)
        column.addLayout(row)
        self.field.setFocus()

    def _set_busy(self, what: str) -> None:
        self.button.setText("Stop")
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.status.setText(what)

    def _write(self, text: str, *, bold: bool = False, quiet: bool = False) -> None:
        style = QTextCharFormat()
        style.setFontWeight(700 if bold else 400)
        role = QPalette.ColorRole.PlaceholderText if quiet else QPalette.ColorRole.Text
        style.setForeground(QColor(self.palette().color(role)))
        cursor = self.text.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text, style)
        self.text.setTextCursor(cursor)
        self.text.ensureCursorVisible()


def summary(answer: Answer) -> str:
    """Write the quiet line under an answer: who, votes, seconds."""
    votes = [f"{answer.votes[0].count} of {sum(vote.count for vote in answer.votes)} votes"] if answer.votes else []
    return " · ".join([", ".join(answer.models), *votes, f"{answer.timings_ms.total / 1000:.1f} s"])


def main() -> int:
    """Open the default team and a window on it."""
    app = QApplication(sys.argv)
    try:
        team = Avengers.open()
    except AvengersError as error:
        sys.exit(str(error))
    with team:
        window = ChatWindow(team)
        window.show()
        window.ask(" ".join(sys.argv[1:]))
        return app.exec()


if __name__ == "__main__":
    freeze_support()  # so that a packaged program can be its own worker
    sys.exit(main())
