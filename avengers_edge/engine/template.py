"""A conversation rendered with the model's own chat template, in a sandbox: the template comes with a foreign file."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message


class ChatTemplate:
    """The compiled template of one model.

    Raises:
        VerificationFailed: the model has no template, or one that does not compile.

    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        if not source:
            raise VerificationFailed("the model carries no chat template: it is a base model, take an instruct model")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        environment.filters["tojson"] = _to_json
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise VerificationFailed(f"the model's chat template does not compile: {_line(error)}") from error
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def render(self, messages: Sequence[Message]) -> str:
        """Render up to the point where the assistant speaks.

        Templates without a system role get the system prompt at the head of the first user turn.

        Raises:
            BadRequest: the template refuses this conversation.

        """
        try:
            return self._render(messages)
        except BadRequest:
            if messages[0].role != "system" or len(messages) < 2:
                raise
        system, first, *rest = messages
        return self._render([Message(first.role, f"{system.content}\n\n{first.content}"), *rest])

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._template.render(messages=turns, add_generation_prompt=True, tools=None, **self._tokens)
        # A template is a program: what it raises inside the sandbox is any of these.
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise BadRequest(f"the model's chat template refuses this conversation: {_line(error)}") from error


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().astimezone().strftime(pattern)


def _to_json(value: object, indent: int | None = None) -> str:
    # Jinja's own tojson escapes HTML characters, which no model has been trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
