"""A conversation rendered with the model's own chat template, which comes with a foreign file: in a sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from avengers_edge.engine.template_sandbox import Sandbox, render
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message

_LONGEST = 200_000
"""Characters of a template; those that models come with have up to 30,000."""


class ChatTemplate:
    """The compiled template of one model.

    Raises:
        VerificationFailed: the model has no template, or one that does not compile.

    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        if not source:
            raise VerificationFailed("the model carries no chat template: it is a base model, take an instruct model")
        if len(source) > _LONGEST:
            raise VerificationFailed(f"the model's chat template has {len(source)} characters, more than {_LONGEST}")
        try:
            self._template = Sandbox().template(source)
        # Foreign source fails in the lexer, in Jinja's compiler and in Python's, each with errors of its own.
        except Exception as error:
            raise VerificationFailed(f"the model's chat template does not compile: {_line(error)}") from error
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(self, messages: Sequence[Message]) -> str:
        """Render up to the point where the assistant speaks.

        Templates that refuse a system role or pass over it get the system prompt at the head of the first user turn.

        Raises:
            BadRequest: the template refuses this conversation, or shows the system prompt nowhere.

        """
        if not messages or messages[0].role != "system":
            return self._render(messages)
        system, *turns = messages
        prompt = system.content.strip()
        try:
            if prompt in (text := self._render(messages)):
                return text
        except BadRequest:
            if not turns:
                raise
        if turns:
            first, *rest = turns
            merged = Message(first.role, f"{system.content}\n\n{first.content}")
            if prompt in (text := self._render([merged, *rest])):
                return text
        raise BadRequest(
            "the model's chat template has no place for a system prompt: say it in the question or take another model"
        )

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        given = {"messages": turns, "add_generation_prompt": True, "tools": None, **self._tokens}
        try:
            return render(self._template, given)
        # A template is a program: it can fail in every way a program can.
        except Exception as error:
            raise BadRequest(f"the model's chat template refuses this conversation: {_line(error)}") from error


def _line(error: Exception) -> str:
    lines = str(error).split("\n", 1)[0].split()
    return " ".join(lines)[:200] or type(error).__name__
