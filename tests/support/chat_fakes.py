"""Stand-ins for what a chat talks to: typed lines, a display that remembers, turns whose answers are known."""

from __future__ import annotations

from collections import deque

from avengers_edge.cli.chat.turns import Note
from avengers_edge.errors import AvengersError, Cancelled
from avengers_edge.records import Answer, Finished, Progress, Ranked, Route, Sample, Timings, Token, Usage, Vote


def answer(text, *, votes=(), reason="stop", samples=1):
    """An answer of one member that took 2 seconds."""
    held = tuple(Vote(key, count) for key, count in votes)
    return Answer(
        answer=held[0].key if held else text,
        text=text,
        kind="number" if held else "text",
        model="small:think",
        models=("small:think",),
        confidence=None,
        agreement=held[0].count / sum(vote.count for vote in held) if held else None,
        route=Route(3, 0.5, (Ranked("small:think", 0.75), Ranked("other", 0.25)), 0.5),
        votes=held,
        samples_requested=samples,
        samples_used=samples - (reason == "cancelled"),
        stopped_early=False,
        samples=(Sample("small:think", 0, text, None, 3, reason),),
        usage=Usage(5, 3),
        timings_ms=Timings(0, 0, 0, 0, 0, 2000),
    )


class ScriptedReader:
    """Gives these lines, then leaves; an error among them is raised, a call is made. Remembers the defaults."""

    def __init__(self, *lines):
        self.lines, self.defaults = deque(lines), []

    def read(self, default=""):
        self.defaults.append(default)
        if not self.lines:
            raise EOFError
        line = self.lines.popleft()
        if isinstance(line, BaseException):
            raise line
        return line() if callable(line) else line


class RecordingDisplay:
    """Remembers what it was told, as tuples."""

    def __init__(self):
        self.told = []

    def begin(self):
        self.told.append(("begin",))

    def piece(self, text):
        self.told.append(("piece", text))

    def thought(self, text):
        self.told.append(("thought", text))

    def vote(self, progress):
        self.told.append(("vote", progress.finished, progress.samples, progress.leader and progress.leader.key))

    def note(self, text):
        self.told.append(("note", text))

    def end(self, answer, *, stopped):
        self.told.append(("end", answer and answer.text, stopped))

    def say(self, text):
        self.told.append(("say", text))

    def show_error(self, error):
        self.told.append(("show_error", str(error)))

    def said(self, what="say"):
        return [rest[0] for kind, *rest in self.told if kind == what]


class ScriptedTurns:
    """Answers each turn with the next script: events, errors to be raised, calls to be made with the cancel event."""

    def __init__(self, *scripts):
        self.scripts, self.asked, self.closed, self.warmed = deque(scripts), [], 0, 0

    def warm(self):
        self.warmed += 1

    def send(self, text, ask, cancel):
        self.asked.append((text, ask))
        for step in self.scripts.popleft():
            if isinstance(step, AvengersError | Cancelled):
                raise step
            if callable(step):
                step = step(cancel)
            if step is not None:
                yield step

    def close(self):
        self.closed += 1


def streamed(*pieces, **options):
    """A turn that streams and is answered with the same text."""
    return [*map(Token, pieces), Finished(answer("".join(pieces), **options))]


def voted(key, count, others=(), text=None):
    """A turn that is voted on."""
    total = count + sum(number for _, number in others)
    steps = [Progress(done, total, Vote(key, done) if done else None, "small:think") for done in range(total)]
    return [*steps, Finished(answer(text or f"Answer: {key}", votes=((key, count), *others), samples=total))]


def noted(note, *pieces):
    """A turn that begins with a note."""
    return [Note(note), *streamed(*pieces)]
