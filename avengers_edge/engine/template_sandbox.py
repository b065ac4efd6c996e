"""Jinja's sandbox, which bounds what a template reaches, with bounds on what it computes; see `template_budget`."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from avengers_edge.engine.template_budget import LARGEST, Budget

_MOST_NODES = 10_000
"""Parts of a template's program; those that models come with have up to 3,000."""
_BUDGET = "the budget"
"""Where a rendering keeps its budget: with a space in it, no template can name it."""
_RUNTIME_WIDTH = re.compile(r"%[^%a-zA-Z]*\*|:[^{}]*\{")
_MOST_BITS = 4096
_UNNEEDED = ("format", "wordwrap", "urlize", "striptags", "pprint", "xmlattr", "random", "filesizeformat")
_COMPARING = frozenset(
    {"==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan", "<=", "le", "in"}
)
_GLANCING_FILTERS = frozenset(
    {
        *("length", "count", "first", "last", "default", "d", "list", "map", "select", "reject", "selectattr"),
        *("rejectattr", "attr", "items", "batch", "slice", "reverse", "safe"),
    }
)
"""Filters that do not walk through what they are applied to."""
_GLANCING_METHODS = frozenset({"get", "items", "keys", "values"})


def render(template: jinja2.Template, given: Mapping[str, object]) -> str:
    """Render with a budget of its own; what it prints has another one.

    Raises:
        Exception: whatever the template does wrong; `OverflowError` where it takes too much.

    """
    budget, text = Budget(), []
    for chunk in template.generate({**given, _BUDGET: Budget()}):
        budget.print(len(chunk))
        text.append(chunk)
    return "".join(text)


class _Generation(Extension):
    """`{% generation %}`, with which templates mark what a model is trained to say; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Take the tags away."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Compiles templates whose loops, calls, comparisons and texts are charged to the budget of the rendering."""

    # What is intercepted is not computed at compile time either.
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation], finalize=_printed
        )
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now, range=_range)
        del self.globals["lipsum"]
        for name in _UNNEEDED:
            del self.filters[name]
        self.filters.update(tojson=_to_json, sum=_sum)
        self.filters.update({name: _charged(name, function) for name, function in self.filters.items()})
        self.filters.update(counted=_counted, printed=_printed, compared=_compared, made=_made)
        tests = cast("dict[str, Callable[..., Any]]", self.tests)  # Jinja names no type for them
        self.tests.update({name: _charged(name, tests[name]) for name in _COMPARING})

    def template(self, source: str) -> jinja2.Template:
        """Compile a template in which every loop, every `~`, every comparison and every slice is charged.

        Raises:
            OverflowError: it has too many parts.

        """
        tree = self.parse(source)
        if sum(1 for _ in tree.find_all(nodes.Node)) > _MOST_NODES:
            raise OverflowError(f"it has more than {_MOST_NODES} parts")
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = self._filtered(loop.iter, "counted")
        for joined in list(tree.find_all(nodes.Concat)):
            joined.nodes = [self._filtered(part, "printed") for part in joined.nodes]
        for compare in list(tree.find_all(nodes.Compare)):
            self._charge_comparison(compare)
        for pair in list(tree.find_all(nodes.Pair)):
            pair.key = self._unless_constant(pair.key)  # to be hashed, which walks through a tuple
        for item in list(tree.find_all(nodes.Getitem)):
            if isinstance(item.arg, nodes.Slice):
                item.node = self._filtered(item.node, "made")  # a copy of it, at the most
            else:
                item.arg = self._unless_constant(item.arg)
        return self.from_string(tree)

    def _charge_comparison(self, compare: nodes.Compare) -> None:
        operands = [compare.expr, *(operand.expr for operand in compare.ops)]
        within = any(operand.op in ("in", "notin") for operand in compare.ops)
        if not within and len(operands) == 2 and any(isinstance(operand, nodes.Const) for operand in operands):
            return  # it ends with the shorter of both
        compare.expr = self._unless_constant(compare.expr)
        for operand in compare.ops:
            operand.expr = self._unless_constant(operand.expr)

    def _unless_constant(self, value: nodes.Expr) -> nodes.Expr:
        return value if isinstance(value, nodes.Const) else self._filtered(value, "compared")

    def _filtered(self, value: nodes.Node, name: str) -> nodes.Filter:
        return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno, environment=self)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Compute what an operator makes, unless that is too large."""
        budget = context[_BUDGET]
        if operator == "%" and isinstance(left, str):
            _check_format(left)
            budget.charge_call("%", left, (right,))
        elif operator != "%" and _size_after(operator, left, right) > LARGEST:
            raise OverflowError(f"{operator} makes a value larger than {LARGEST}")
        made = super().call_binop(context, operator, left, right)
        return budget.charge_copy(made) if operator == "+" else budget.charge_made(made)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, N805
        """Call a function, a method or a macro."""
        budget, method = __context[_BUDGET], getattr(__obj, "__wrapped__", __obj)  # str.format comes wrapped
        name, receiver = getattr(method, "__name__", "a function"), getattr(method, "__self__", None)
        budget.charge_call(name, None if name in _GLANCING_METHODS else receiver, (*args, *kwargs.values()))
        if isinstance(__obj, LoopContext) and args:  # the next level of a recursive loop
            args = (_counted(__context, args[0]), *args[1:])
        return budget.charge_made(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401
        """Sandbox `str.format`, widths included."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped


def _charged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Charge a filter or a test as a call; what it wants to be given first is told by Jinja's mark."""
    mark = getattr(function, "jinja_pass_arg", None)
    wanted = None if mark is None else mark.name

    @jinja2.pass_context
    @functools.wraps(function)
    def charged(context: Context, receiver: object, *args: object, **kwargs: object) -> object:
        budget = context[_BUDGET]
        budget.charge_call(name, None if name in _GLANCING_FILTERS else receiver, (*args, *kwargs.values()))
        first: tuple[object, ...] = {
            None: (),
            "context": (context,),
            "eval_context": (context.eval_ctx,),
            "environment": (context.environment,),
        }[wanted]
        return budget.charge_made(function(*first, receiver, *args, **kwargs))

    return charged


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
    budget = context[_BUDGET]
    if not isinstance(value, str):
        budget.weigh(value)
    text = str(value)
    budget.print(len(text))
    return text


@jinja2.pass_context
def _compared(context: Context, value: object) -> object:
    budget = context[_BUDGET]
    budget.print(budget.weigh(value))
    return value


@jinja2.pass_context
def _made(context: Context, value: object) -> object:
    return context[_BUDGET].charge_made(value)


def _sum(values: Iterable[Any], attribute: str | int | None = None, start: int | float = 0) -> int | float:
    # Jinja's own joins lists too, in a time that grows with the square of their number.
    if not isinstance(start, int | float):
        raise OverflowError("it adds up what is no number")
    found = values if attribute is None else (value[attribute] for value in values)
    return sum(found, start)


def _check_format(pattern: str) -> None:
    """Refuse widths that are large together, and those that only the values tell."""
    if _RUNTIME_WIDTH.search(pattern) or sum(map(int, re.findall(r"[0-9]+", pattern))) > LARGEST:
        raise OverflowError("it formats text to a width that is not modest")


def _size_after(operator: str, left: object, right: object) -> int:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        after = bits * abs(right) if operator == "**" else bits + right.bit_length()
        return LARGEST + 1 if after > _MOST_BITS else after
    if operator == "*":
        for items, times in ((left, right), (right, left)):
            if isinstance(items, str | list | tuple) and isinstance(times, int):
                return len(items) * times
    return sum(len(value) for value in (left, right) if isinstance(value, str | list | tuple))


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    _check_format(pattern)
    return datetime.datetime.now().astimezone().strftime(pattern)


def _to_json(value: object, indent: int | None = None, ensure_ascii: bool = False, sort_keys: bool = False) -> str:
    # Jinja's own tojson escapes HTML characters, which no model has been trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)
