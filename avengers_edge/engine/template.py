"""A conversation rendered with the model's own chat template, in a sandbox: the template comes with a foreign file."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message

_MOST_STEPS = 100_000
"""Loop items and calls of one rendering."""
_LARGEST = 1_000_000
"""Characters or items of one value, bits of a number, and what a number may ask a function for."""
_MOST_CHARACTERS = 30_000_000
"""What one rendering may print or join with `~`, kept or not."""
_BUDGET = "the budget"
"""Where a rendering keeps its budget: with a space in it, no template can name it."""
_RUNTIME_WIDTH = re.compile(r"%[^%a-zA-Z]*\*|:[^{}]*\{")


class ChatTemplate:
    """The compiled template of one model.

    Raises:
        VerificationFailed: the model has no template, or one that does not compile.

    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        if not source:
            raise VerificationFailed("the model carries no chat template: it is a base model, take an instruct model")
        try:
            self._template = _Sandbox().template(source)
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
        given = {"messages": turns, "add_generation_prompt": True, "tools": None, _BUDGET: _Budget(), **self._tokens}
        try:
            text = "".join(_limited(self._template.generate(given)))
        # A template is a program: it can fail in every way a program can.
        except Exception as error:
            raise BadRequest(f"the model's chat template refuses this conversation: {_line(error)}") from error
        return text


class _Budget:
    """What one rendering may still do and print."""

    def __init__(self) -> None:
        self._steps, self._characters = _MOST_STEPS, _MOST_CHARACTERS

    def step(self, count: int = 1) -> None:
        self._steps -= count
        if self._steps < 0:
            raise OverflowError(f"it takes more than {_MOST_STEPS} steps")

    def print(self, count: int) -> None:
        self._characters -= count
        if self._characters < 0:
            raise OverflowError(f"it prints more than {_MOST_CHARACTERS} characters")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which bounds what a template reaches, with bounds on what it computes."""

    # What is intercepted is not computed at compile time either.
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], finalize=_printed
        )
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now, range=_range)
        del self.globals["lipsum"], self.filters["format"]
        self.filters["tojson"] = _to_json
        self.filters.update({name: _modest(function) for name, function in self.filters.items()})
        self.filters.update(counted=_counted, printed=_printed)

    def template(self, source: str) -> jinja2.Template:
        """Compile a template in which every loop and every `~` is charged."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            loop.iter = self._filtered(loop.iter, "counted")
        for joined in tree.find_all(nodes.Concat):
            joined.nodes = [self._filtered(part, "printed") for part in joined.nodes]
        return self.from_string(tree)

    def _filtered(self, value: nodes.Node, name: str) -> nodes.Filter:
        return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno, environment=self)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Compute what an operator makes, unless that is too large."""
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        elif operator != "%" and _size_after(operator, left, right) > _LARGEST:
            raise OverflowError(f"{operator} makes a value larger than {_LARGEST}")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, N805
        """Call a function, a method or a macro as one step."""
        __context[_BUDGET].step()
        _check_arguments(*args, *kwargs.values())
        if isinstance(__obj, LoopContext) and args:  # the next level of a recursive loop
            args = (_counted(__context, args[0]), *args[1:])
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        """Sandbox `str.format`, widths included."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped


@jinja2.pass_context
def _counted(context: Context, items: Iterable[object]) -> list[object]:
    counted = list(items)
    context[_BUDGET].step(len(counted))
    return counted


@jinja2.pass_context
def _range(context: Context, *bounds: int) -> range:
    numbers = range(*bounds)
    context[_BUDGET].step(len(numbers))
    return numbers


@jinja2.pass_context
def _printed(context: Context, value: object) -> str:
    # Jinja prints str(value) in any case; here also what goes into a macro's result or a `set` block.
    text = str(value)
    context[_BUDGET].print(len(text))
    return text


def _modest(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # also carries Jinja's marks
    def modest(*args: object, **kwargs: object) -> object:
        _check_arguments(*args, *kwargs.values())
        return function(*args, **kwargs)

    return modest


def _check_arguments(*arguments: object) -> None:
    if any(isinstance(argument, int) and abs(argument) > _LARGEST for argument in arguments):
        raise OverflowError(f"it calls a function with a number beyond {_LARGEST}")


def _check_format(pattern: str) -> None:
    """Refuse widths that are large together, and those that only the values tell."""
    if _RUNTIME_WIDTH.search(pattern) or sum(map(int, re.findall(r"[0-9]+", pattern))) > _LARGEST:
        raise OverflowError("it formats text to a width that is not modest")


def _size_after(operator: str, left: object, right: object) -> int:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return bits * abs(right) if operator == "**" else bits + right.bit_length()
    if operator == "*":
        for items, times in ((left, right), (right, left)):
            if isinstance(items, str | list | tuple) and isinstance(times, int):
                return len(items) * times
    return sum(len(value) for value in (left, right) if isinstance(value, str | list | tuple))


def _limited(chunks: Iterable[str]) -> Iterable[str]:
    budget = _Budget()
    for chunk in chunks:
        budget.print(len(chunk))
        yield chunk


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    _check_format(pattern)
    return datetime.datetime.now().astimezone().strftime(pattern)


def _to_json(value: object, indent: int | None = None) -> str:
    # Jinja's own tojson escapes HTML characters, which no model has been trained on.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _line(error: Exception) -> str:
    lines = str(error).split("\n", 1)[0].split()
    return " ".join(lines)[:200] or type(error).__name__
