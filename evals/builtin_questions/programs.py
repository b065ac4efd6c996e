"""Programming tasks: a wording, a reference solution and drawn inputs make a question with tests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template as Pattern
from types import MappingProxyType

from avengers_edge.calibration.questions import CodeTests
from builtin_questions.drafts import Draft
from builtin_questions.draw import Draw
from builtin_questions.texts import all_words

Arguments = tuple[object, ...]
_SHOWN = 2
_DRAWN = 8


@dataclass(frozen=True, slots=True)
class Program:
    """A function to be written.

    `call` is its head, as in "add(a, b)"; `does` completes "that ..."; `reference` is its body, indented by four
    spaces. `$k` in any of them stands for a drawn value of `settings["k"]`. `inputs` draws one call's arguments, and
    `edges` are arguments that always belong to the hidden tests.
    """

    call: str
    does: str
    reference: str
    inputs: Callable[[Draw], Arguments]
    edges: Sequence[Arguments] = ()
    settings: Mapping[str, Sequence[object]] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, draw: Draw) -> Draft:
        """Make a question; its tests hold the two calls that it shows and at least eight more."""
        values = {name: draw.pick(choices) for name, choices in self.settings.items()}
        call, does, body = (Pattern(part).substitute(values) for part in (self.call, self.does, self.reference))
        reference = f"def {call}:\n{body.strip(chr(10))}\n"
        name = call.partition("(")[0]
        solve = _compiled(name, reference)
        asserts = [_assert(name, solve, arguments) for arguments in self._calls(draw)]
        examples = "\n".join(asserts[:_SHOWN])
        question = f"Write a Python function `{call}` that {does}\n\nExamples:\n\n```python\n{examples}\n```"
        tests = CodeTests(entry_point=name, setup="", test="\n".join(asserts) + "\n", reference=reference)
        return Draft(question, None, "code", tests=tests)

    def _calls(self, draw: Draw) -> list[Arguments]:
        drawn: dict[str, Arguments] = {}
        for _ in range(200):
            arguments = self.inputs(draw)
            drawn.setdefault(repr(arguments), arguments)
            if len(drawn) == _SHOWN + _DRAWN:
                break
        return [*(drawn | {repr(arguments): arguments for arguments in self.edges}).values()]


def _compiled(name: str, reference: str) -> Callable[..., object]:
    space: dict[str, Callable[..., object]] = {}
    exec(reference, space)  # our own source, from the modules beside this one
    return space[name]


def _assert(name: str, solve: Callable[..., object], arguments: Arguments) -> str:
    """Write one test, with what the reference makes of the arguments."""
    result = solve(*copy.deepcopy(arguments))
    return f"assert {name}({', '.join(map(repr, arguments))}) == {result!r}"


def whole_numbers(draw: Draw, least: int = -20, most: int = 40, shortest: int = 3, longest: int = 8) -> list[int]:
    """Draw a list of whole numbers, some of which may be equal."""
    return [draw.whole(least, most) for _ in range(draw.whole(shortest, longest))]


def few_numbers(draw: Draw, most: int = 5, shortest: int = 4, longest: int = 9) -> list[int]:
    """Draw a list in which numbers repeat."""
    return whole_numbers(draw, 1, most, shortest, longest)


def word(draw: Draw) -> str:
    """Draw one word."""
    return draw.pick(all_words())


def sentence(draw: Draw, shortest: int = 2, longest: int = 5) -> str:
    """Draw words joined by spaces; some begin with a capital."""
    words = draw.some(all_words(), draw.whole(shortest, longest))
    return " ".join(each.capitalize() if draw.chance(0.3) else each for each in words)
