"""What the slash commands do."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from avengers_edge._util.text import cut
from avengers_edge.cli.chat.clipboard import copy
from avengers_edge.cli.chat.commands import Completes, Known, help_lines
from avengers_edge.cli.chat.loop import Loop
from avengers_edge.cli.explaining import Bar, chart, ranking_lines, switch_lines
from avengers_edge.cli.reading import read_attachment, read_text_file
from avengers_edge.cli.terminal import columns, harmless
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.records import Ask

if TYPE_CHECKING:
    from avengers_edge.cli.chat.talk import OpenStore
    from avengers_edge.history.conversations import Conversation

_RECALLED_LINES = 6
_LONGEST_LOAD = 256 * 2**20


class Actions:
    """Runs slash commands.

    Args:
        known: names the members that can be asked, and the teams.
        open_store: opens where conversations are kept; None where they are not.
        longest_file: bytes of a file that could fit the context.

    """

    def __init__(self, known: Known, open_store: OpenStore | None, longest_file: int) -> None:
        self._known, self._open_store, self._longest_file = known, open_store, longest_file
        self._actions: dict[str, Callable[[Loop, str], None]] = {
            "help": lambda loop, _: loop.display.say("\n".join(help_lines())),
            "model": self._model,
            "team": self._team,
            "system": self._system,
            "samples": self._samples,
            "regen": self._regenerate,
            "why": self._why,
            "votes": self._votes,
            "read": self._read,
            "save": self._save,
            "load": self._load,
            "clear": self._clear,
            "undo": self._undo,
            "copy": self._copy,
        }

    def __call__(self, loop: Loop, name: str, argument: str) -> bool:
        """Run one; False where the user leaves.

        Raises:
            AvengersError: it cannot be done; the message says why.

        """
        if name == "exit":
            return False
        self._actions[name](loop, argument)
        return True

    def _model(self, loop: Loop, name: str) -> None:
        if name == "auto":
            loop.choices.member = None
        elif name:
            loop.choices.member = checked(self._known, "members", name)
        member = loop.choices.member
        loop.display.say(f"model: {member or f'auto (each turn is routed in team {loop.talk.team})'}")

    def _team(self, loop: Loop, name: str) -> None:
        if name:
            loop.talk.change(team=checked(self._known, "teams", name), system=loop.talk.system)
            loop.choices.member = None
            loop.opening.begin(name)
        loop.display.say(f"team: {loop.talk.team}")

    def _system(self, loop: Loop, text: str) -> None:
        if text:
            loop.talk.change(system=None if text == "none" else text)
        loop.display.say(f"system prompt: {loop.talk.system or 'none'}")

    def _samples(self, loop: Loop, number: str) -> None:
        if number == "auto":
            loop.choices.samples = None
        elif number:
            try:
                samples = int(number)
            except ValueError:
                raise BadRequest(f"/samples takes a number or auto, not {number!r:.40}") from None
            loop.choices.samples = Ask(samples=samples).samples
        loop.display.say(f"samples: {loop.choices.samples or 'auto (as many as pay; one of free text)'}")

    def _regenerate(self, loop: Loop, _: str) -> None:
        single = self._was_single(loop)
        question = loop.talk.undo(keep_question=True)
        if question is None:
            raise BadRequest("there is no question to be answered again: ask one")
        # A single answer can have been the greedy one, which would come again; a sample that is asked for is drawn.
        loop.take_turn(question, samples=1 if single else None)

    def _was_single(self, loop: Loop) -> bool:
        """Tell whether the last question was answered by one sample; of an earlier chat, as far as is known."""
        if loop.answer is not None:
            return loop.answer.samples_requested == 1
        facts = loop.talk.turns[-1].facts if loop.talk.turns else None
        return facts is not None and facts.samples == 1

    def _why(self, loop: Loop, _: str) -> None:
        if loop.answer is None:
            raise BadRequest("nothing was answered since this chat began: ask something")
        lines = [ranking_lines(loop.answer.route, columns()), *switch_lines(loop.answer)]
        loop.display.say("\n".join(lines))

    def _votes(self, loop: Loop, _: str) -> None:
        last = loop.talk.last_answer()
        votes = last.facts.votes if last and last.facts and last.facts.samples > 1 else ()
        total = sum(vote.count for vote in votes)
        if not total:
            raise BadRequest("no vote was held on the last answer: ask what has one answer, or set /samples")
        bars = [Bar(vote.key, vote.count / total, str(vote.count)) for vote in votes]
        loop.display.say("\n".join(chart(bars, columns())))

    def _read(self, loop: Loop, name: str) -> None:
        attachment = read_attachment(_path_of(name, "/read FILE"), self._longest_file)
        loop.attachments.append(attachment)
        size = f"{attachment.name}: {len(attachment.text)} characters"
        loop.display.say(f"{size} will go with your next question")

    def _save(self, loop: Loop, name: str) -> None:
        from avengers_edge.history.conversations import save

        path = _path_of(name, "/save FILE")
        if os.path.lexists(path):
            raise BadRequest(f"{path} is there already: choose another name")
        save(path, loop.talk.as_conversation())
        loop.display.say(f"saved to {path}")

    def _load(self, loop: Loop, name: str) -> None:
        conversation = self._conversation(name)
        checked(self._known, "teams", conversation.team)
        if loop.talk.team != conversation.team:
            loop.opening.begin(conversation.team)
        loop.talk.resume(conversation)
        loop.answer = None
        loop.display.say(resumed(conversation))

    def _conversation(self, name: str) -> Conversation:
        from avengers_edge.history.conversations import from_json

        if name.isascii() and name.isdigit() and not Path(name).exists():
            if self._open_store is None:
                raise BadRequest("this chat keeps nothing (--no-log), so it has no numbers: /load a file")
            return self._open_store().read(int(name))
        text = read_text_file(
            _path_of(name, "/load FILE, or the number of a conversation"), "a conversation", _LONGEST_LOAD
        )
        loaded = from_json(text)
        if self._open_store is None:
            return loaded
        store = self._open_store()
        return store.read(store.add(loaded))

    def _clear(self, loop: Loop, _: str) -> None:
        loop.talk.renew()
        loop.answer = None
        loop.attachments.clear()
        loop.display.say("a new conversation")

    def _undo(self, loop: Loop, _: str) -> None:
        question = loop.talk.undo()
        if question is None:
            raise BadRequest("there is nothing to take back")
        loop.answer = None
        loop.default = question
        loop.display.say("taken back; change the question, or clear it with Ctrl-C")

    def _copy(self, loop: Loop, what: str) -> None:
        last = loop.talk.last_answer()
        if last is None:
            raise BadRequest("there is no answer to be copied yet")
        text: str | None = last.content
        if what == "code":
            from avengers_edge.voting.source import first_block

            text = first_block(last.content)
            if text is None:
                raise BadRequest("the last answer has no complete code block: /copy copies all of it")
        elif what:
            raise BadRequest(f"/copy copies the answer, /copy code its first code block; {what!r:.40} is neither")
        assert text is not None
        loop.display.say(f"{len(text)} characters copied by {copy(text)}")


def checked(known: Known, kind: Completes, name: str) -> str:
    """Give the name of a member or a team back.

    Raises:
        NotFound: there is none of that name; the message has the nearest one.

    """
    names = list(known(kind))
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.0)
        hint = f"did you mean {near[0]}?" if near else "none is known"
        raise NotFound(f"there is no {kind.removesuffix('s')} {name!r:.60}: {hint}")
    return name


def resumed(conversation: Conversation) -> str:
    """Say which conversation goes on, and what was said last."""
    turns = "1 turn" if len(conversation.turns) == 1 else f"{len(conversation.turns)} turns"
    said = [f"conversation {conversation.id}: {conversation.title} ({turns}, team {conversation.team})"]
    for turn in conversation.turns[-2:]:
        lines = harmless(turn.content.strip()).splitlines()
        shown = [f"{'> ' if turn.role == 'user' else ''}{cut(line, columns())}" for line in lines[:_RECALLED_LINES]]
        said += shown + [f"… {len(lines) - len(shown)} more lines"] * (len(lines) > len(shown))
    return "\n".join(said)


def _path_of(name: str, usage: str) -> Path:
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    if not name:
        raise BadRequest(f"which file? {usage}")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise BadRequest(f"{name!r:.60} names a user that does not exist: write the folder out") from error
