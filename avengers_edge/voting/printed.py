r"""What programs print, read more strictly than prose: a line that says more than an answer is none.

Numbers and formulas come in Python's and SymPy's notation. Formulas are written anew in LaTeX, so that a program that
prints `3*sqrt(13)` and a text that says `3\sqrt{13}` get one key. Nothing is evaluated: the line is only parsed.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from string import ascii_uppercase

from avengers_edge.records import Kind
from avengers_edge.voting.choices import label_key, letter_in, letters_of, offered
from avengers_edge.voting.expressions import expression_in
from avengers_edge.voting.latex import bare, plain
from avengers_edge.voting.numbers import is_bare_number, number_key
from avengers_edge.voting.patterns import pattern
from avengers_edge.voting.source import parse_expression

_LONGEST = 5000
_LONGEST_FORMULA = 600
_LONGEST_LABEL = 200

_FAILURE = pattern(r"(?:\w+\.)*\w*(?:Error|Exception|Warning|Interrupt|Exit)\b|Traceback ")
_UNSIGNED = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9,])(?:\.[0-9]+)?|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)"
_NUMBER = pattern(
    rf"(?<![\w.^])[-+]?[$€£¥]?(?:[0-9]+(?::[0-9]{{2}})+"
    rf"|{_UNSIGNED}(?:[eE][-+]?[0-9]+)?(?:[ ]?/[ ]?-?[0-9]++)?)(?![\w.]*[0-9])"
)
_CALL = pattern(
    r"(?:(?:np|numpy|mpmath|sympy|fractions|decimal)\.)?(?:Fraction|Rational|mpq|Decimal|Integer|Float|mpf|u?int\d*|float\d*|S)"
    r"\('?(-?[0-9][0-9._eE+-]*+)'?(?:,[ ]?(-?[0-9]+))?\)"
)
_BRACKETED = pattern(r"\[\[([^\[\]]+)\]\]")
_ALONE = pattern(r"[\[({]\s*([^\[\](){},]+?)\s*,?\s*[\])}]")
_LABEL = pattern(r"(?<![0-9]):(?!:)|[=≈]")
_ANOTHER_VALUE = pattern(r"[:=]\s*[-+(]?[0-9][^:=]*[A-Za-z,;]")
_SAYS = pattern(
    r"(?:^|.*\b(?:is|are|was|were|be|equals|has|have|costs?|takes?|pays?|earns?|needs?|makes?|gives?"
    r"|approximately|about|total of)"
    r"|.*≈)[\s~≈]*$",
    re.IGNORECASE | re.DOTALL,
)
_UNIT = pattern(r"\s*[%°]?[CF]?(?:[\s-]?[A-Za-z²³µ$€£%]+(?:\^?[0-9])?(?:/[A-Za-z]+(?:\^?[0-9])?)?){0,3}\s*[.!]?")
_NO_NUMBER = frozenset({"none", "nan", "inf", "infinity", "true", "false", "error", "undefined"})
_ANSWER = pattern(
    r"(?:(?:the )?(?:final |correct |right )?(?:answer|option|choice|result|letter)(?: is)?\s*:?\s+"
    r"|(?:answer|result)\s*[:=]\s*)+",
    re.IGNORECASE,
)
_CAPTION = pattern(r"(?!lambda\b)[A-Za-z][A-Za-z' ]{0,60}")
_LETTER = pattern(r"\(?([A-Za-z])(?:\)|[.:](?=\s|$)|\)\s*[.:])?(?:\s+(\S.*)|$)", re.DOTALL)


def printed_answer(printed: str, kind: Kind, *, choices: Sequence[str] | None = None) -> str | None:
    r"""Read what a program printed: its last line that is not blank, in the question's own kind.

    A number is one number with at most a unit and a label, a formula is in Python's or SymPy's notation (and is given
    in LaTeX), a choice is a letter or an option's text, a label one of `choices`, and free text the line itself. None
    where the line is of another kind, as `nan`, `[1, 2]` or a traceback's last line is no number. Around what is not
    free text `[[` and `]]` may stand, which some questions ask for.

    Args:
        printed: all that the program printed.
        kind: what an answer is. For code it is always None.
        choices: option texts (kind choice) or the closed set of labels (kind label).

    """
    line = printed.rstrip()
    line = line[max(line.rfind("\n"), line.rfind("\r")) + 1 :].strip()
    if not line or kind == "code":
        return None
    if kind == "text":
        return line
    if marked := _BRACKETED.fullmatch(line):
        line = marked[1].strip()
    if len(line) > _LONGEST or _FAILURE.match(line):
        return None
    if kind == "number":
        return _number(line)
    if kind == "expression":
        return _formula(line)
    if kind == "choice":
        letter = _letter(line, choices)
        return letter and offered(letter, kind, choices)
    return _label(line, choices)


def _number(line: str) -> str | None:
    """Read a line that is one number with at most a unit and a label: `Total: 42 apples`, `Fraction(3, 4)`."""
    if _FAILURE.match(line):
        return None
    line = _CALL.sub(lambda match: f"{match[1]}/{match[2]}" if match[2] else match[1], line.strip().strip("'\"`*"))
    if alone := _ALONE.fullmatch(line):
        line = alone[1]
    *before, value = _LABEL.split(line)
    label = line[: len(line) - len(value)]
    if len(label) > _LONGEST_LABEL or (len(before) > 1 and _ANOTHER_VALUE.search(label)):
        return None
    found = list(_NUMBER.finditer(value))
    if len(found) != 1 or not _SAYS.fullmatch(value[: found[0].start()]):
        return None
    unit = value[found[0].end() :]
    if not _UNIT.fullmatch(unit) or _NO_NUMBER & set(unit.lower().split()):
        return None
    number = _settled(re.sub(r"[$€£¥]", "", found[0].group()).rstrip("."))
    return number if number_key(number) is not None else None


def _formula(line: str) -> str | None:
    """Write a line of Python's or SymPy's notation in LaTeX; a line that is LaTeX already stays what it is."""
    line = line.strip()
    if re.fullmatch(rf"-?[0-9]{{1,{_LONGEST}}}", line):
        return line
    if len(line) > _LONGEST_FORMULA:
        return None
    line = _ANSWER.sub("", line, count=1).strip()
    if "\\" in line:
        return expression_in(line)
    label, colon, rest = line.rpartition(": ")
    for candidate in (line, rest if colon and _CAPTION.fullmatch(label) else ""):
        if formula := _in_python(candidate):
            return formula
    return _number(line)


def _letter(line: str, choices: Sequence[str] | None) -> str | None:
    """Read an option's letter, alone or before its text, or an option's text, or the one number that an option is."""
    line = _ANSWER.sub("", _unquoted(line), count=1).strip()
    if choices and (spelled := _option(line, choices)):
        return letter_in(spelled, None)
    match = _LETTER.fullmatch(line.rstrip("."))
    if match is None:
        return None
    letter, text = match[1].upper(), match[2]
    if text is not None and not line.startswith(("(", match[1] + ")", match[1] + ".", match[1] + ":")) and not choices:
        return None
    if text is not None and choices and _option(text, choices) != letter:
        return None
    return letter


def _label(line: str, choices: Sequence[str] | None) -> str | None:
    """Read one of the labels; without a list of them, a short line is one itself."""
    line = _ANSWER.sub("", _unquoted(line), count=1)
    wanted = label_key(line)
    if not choices:
        return line.strip() if wanted and len(line.split()) <= 5 else None
    return next((choice for choice in choices if label_key(choice) == wanted), None)


def _unquoted(line: str) -> str:
    line = line.strip()
    if alone := _ALONE.fullmatch(line):
        line = alone[1] if alone[1][:1] in "'\"" else line
    return bare(line).strip("'")


def _option(line: str, choices: Sequence[str]) -> str | None:
    """Find the letter of the one option that this is: by its text, or as a number."""
    same = letters_of(line, choices)
    if not same and (number := _number(line)):
        key = number_key(number)
        numeric = [choice if is_bare_number(choice) else "" for choice in choices]
        figures = zip(ascii_uppercase, (_number(plain(choice)) for choice in numeric), strict=False)
        same = [letter for letter, figure in figures if figure and number_key(figure) == key]
    return same[0] if len(same) == 1 else None


def _settled(number: str) -> str:
    """Round off the noise of binary arithmetic, 0.30000000000000004; a number that has many digits keeps them."""
    if not re.fullmatch(r"-?[0-9]+\.[0-9]{6,}(?:e[-+][0-9]+)?", number) or sum(map(str.isdigit, number)) < 15:
        return number
    value = float(number)
    rounded = f"{value:.12g}"
    digits = rounded.partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    return rounded if len(digits) <= 9 and math.isclose(value, float(rounded), rel_tol=1e-11) else number


# --- Python's notation

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
"""How tightly what was written holds together."""

_NAMES = {"pi": r"\pi", "oo": r"\infty", "I": "i", "E": "e", "EmptySet": r"\emptyset"}
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu", "rho", "sigma", "tau", "phi", "omega")
)
_FUNCTIONS = {
    **{name: rf"\{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")},
    **{"log": r"\ln", "ln": r"\ln", "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan"},
}
_CALLS = {
    ("sqrt", 1): (r"\sqrt{{{0}}}", _ATOM),
    ("cbrt", 1): (r"\sqrt[3]{{{0}}}", _ATOM),
    ("root", 2): (r"\sqrt[{1}]{{{0}}}", _ATOM),
    ("exp", 1): ("e^{{{0}}}", _POWER),
    ("Abs", 1): ("|{0}|", _ATOM),
    ("abs", 1): ("|{0}|", _ATOM),
    ("Eq", 2): ("{0} = {1}", _SUM),
    **{(name, 1): (rf"{command}({{0}})", _ATOM) for name, command in _FUNCTIONS.items()},
}
"""How calls with so many arguments are written."""
_PLAIN_NUMBERS = frozenset({"Integer", "Float", "Decimal", "S", "mpf", "Poly", "float64", "int64"})
_MATRICES = frozenset({"Matrix", "ImmutableMatrix", "ImmutableDenseMatrix", "MutableDenseMatrix", "array"})
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.Gt: ">", ast.LtE: r"\le", ast.GtE: r"\ge", ast.Eq: "=", ast.NotEq: r"\ne",
}  # fmt: skip
_NAME = pattern(r"([A-Za-z])_?([0-9]*)")
_HALF_OPEN = pattern(
    r"([\[(])([^\[\]()]{1,80}(?:\([^()]{0,80}\))?[^\[\]()]{0,80}), ?([^\[\]()]{1,80}(?:\([^()]{0,80}\))?)([\])])"
)


class _NotAFormula(Exception):
    """A line that is no formula in Python's notation."""


def _in_python(line: str) -> str | None:
    try:
        left, equals, right = line.partition(" = ")
        if equals and re.fullmatch(r"[A-Za-z]\w{0,8}(?:\([a-z]\))?", left.strip()):
            return f"{left.strip()} = {_tex(_tree(right))}"
        if (interval := _HALF_OPEN.fullmatch(line)) and line[0] + line[-1] in ("[)", "(]"):
            return f"{line[0]}{_tex(_tree(interval[2]))}, {_tex(_tree(interval[3]))}{line[-1]}"
        return _top(_tree(line))
    except (_NotAFormula, RecursionError):
        return None


def _tree(source: str) -> ast.expr:
    if (tree := parse_expression(source)) is None:
        raise _NotAFormula(source)
    return tree


def _top(node: ast.expr) -> str:
    """Write what was printed as a whole: a list is one of roots, unless its rows make it a matrix."""
    known = _NO_NUMBER | {"zoo", *_NAMES, *_GREEK}
    match node:
        case ast.List([_, _, *_] as rows) if all(isinstance(row, ast.List) for row in rows):
            return _matrix(node)
        case ast.List([_, *_] as roots):
            return ", ".join(map(_top, roots))
        case ast.Tuple([only]):
            return _top(only)
        case ast.Dict([_, *_] as keys, values):
            pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key is not None]
            return ", ".join(f"{_tex(key)} = {_tex(value)}" for key, value in pairs)
        case ast.Name(name) if len(name) > 1 and name.lower() not in known:
            return name  # a person or a thing
    return _tex(node)


def _tex(node: ast.expr, tightness: int = _SUM) -> str:
    """Write an expression in LaTeX, in parentheses where it does not hold together so tightly."""
    text, holds = _written(node)
    return text if holds >= tightness else f"({text})"


def _written(node: ast.expr) -> tuple[str, int]:
    """Write an expression; return how tightly it holds together, too."""
    match node:
        case ast.Constant(complex(imag=size)):
            return ("i" if size == 1 else f"{_decimal(size)}i"), _PRODUCT
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return _decimal(value), _ATOM
        case ast.Name(name):
            return _name(name), _ATOM
        case ast.UnaryOp(ast.USub(), operand):
            return f"-{_tex(operand, _PRODUCT)}", _SUM
        case ast.UnaryOp(ast.UAdd(), operand):
            return _written(operand)
        case ast.BinOp(left, ast.Add(), right):
            return f"{_tex(left)} + {_tex(right)}", _SUM
        case ast.BinOp(left, ast.Sub(), right):
            return f"{_tex(left)} - {_tex(right, _PRODUCT)}", _SUM
        case ast.BinOp(left, ast.Mult(), right):
            return _product(left, right)
        case ast.BinOp(left, ast.Div(), right):
            return _quotient(left, right)
        case ast.BinOp(left, ast.Pow(), right):
            return _power(left, right)
        case ast.BinOp(ast.Compare() as left, ast.BitAnd(), ast.Compare() as right):
            return _chain(left, right), _SUM
        case ast.Compare(left, operators, sides):
            return _comparison(left, operators, sides), _SUM
        case ast.Tuple([_, *_] as elements):
            return f"({_row(elements)})", _ATOM
        case ast.List([_, *_] as elements):
            return f"[{_row(elements)}]", _ATOM
        case ast.Set(elements):
            return rf"\{{{_row(elements)}\}}", _ATOM
        case ast.Call(ast.Name(name) | ast.Attribute(attr=name), arguments):
            return _call(name, arguments)
    raise _NotAFormula(ast.dump(node)[:40])


def _decimal(value: float) -> str:
    if not math.isfinite(value):
        raise _NotAFormula("not finite")
    if isinstance(value, int) or (value == int(value) and abs(value) < 2**53):
        return str(int(value))
    mantissa, power, exponent = _settled(repr(value)).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if power else mantissa


def _name(name: str) -> str:
    if name in _NAMES:
        return _NAMES[name]
    if name in _GREEK:
        return rf"\{name}"
    if match := _NAME.fullmatch(name):
        return f"{match[1]}_{{{match[2]}}}" if match[2] else match[1]
    raise _NotAFormula(name)


def _product(left: ast.expr, right: ast.expr) -> tuple[str, int]:
    match left:
        case ast.UnaryOp(ast.USub(), operand):
            return f"-{_product(operand, right)[0]}", _SUM
    factor = _tex(right, _PRODUCT)
    return _tex(left, _PRODUCT) + (r" \cdot " if factor[:1].isdigit() else " ") + factor, _PRODUCT


def _quotient(over: ast.expr, under: ast.expr) -> tuple[str, int]:
    if (positive := _without_sign(over)) is not None:
        return f"-{_quotient(positive, under)[0]}", _SUM
    return rf"\frac{{{_tex(over)}}}{{{_tex(under)}}}", _PRODUCT


def _without_sign(node: ast.expr) -> ast.expr | None:
    """Take the minus off a product whose first factor has one; None where there is none."""
    match node:
        case ast.UnaryOp(ast.USub(), operand):
            return operand
        case ast.BinOp(left, ast.Mult() as times, right) if (positive := _without_sign(left)) is not None:
            return ast.BinOp(positive, times, right)
    return None


def _power(base: ast.expr, exponent: ast.expr) -> tuple[str, int]:
    match exponent:
        case ast.Constant(0.5) | ast.BinOp(ast.Constant(1), ast.Div(), ast.Constant(2)):
            return rf"\sqrt{{{_tex(base)}}}", _ATOM
        case ast.BinOp(ast.Constant(1), ast.Div(), ast.Constant(int(degree))) if degree > 1:
            return rf"\sqrt[{degree}]{{{_tex(base)}}}", _ATOM
    return f"{_tex(base, _ATOM)}^{{{_tex(exponent)}}}", _POWER


def _call(name: str, arguments: list[ast.expr]) -> tuple[str, int]:
    if written := _CALLS.get((name, len(arguments))):
        return written[0].format(*map(_tex, arguments)), written[1]
    match name, arguments:
        case "set", []:
            return r"\emptyset", _ATOM
        case (("Rational" | "Fraction"), [over, under]):
            return _quotient(over, under)
        case (("Rational" | "Fraction"), [number]):
            return _unwrapped(number)
        case "factorial", [number]:
            return f"{_tex(number, _ATOM)}!", _ATOM
        case (("Interval" | "open" | "Lopen" | "Ropen"), [_, *_]):
            return _interval(name, arguments), _ATOM
        case "Union", [_, *_]:
            return _row(arguments, r" \cup "), _SUM
        case (("FiniteSet" | "set" | "frozenset"), [first, *_]):
            return rf"\{{{_row(first.elts if isinstance(first, ast.Set) else arguments)}\}}", _ATOM
        case _, [ast.List() as rows, *_] if name in _MATRICES:
            return _matrix(rows), _ATOM
        case _, [first, *_] if name in _PLAIN_NUMBERS:
            return _unwrapped(first)
        case _, [_, *_] if len(name) == 1:
            return f"{name}({_row(arguments)})", _ATOM
    raise _NotAFormula(name)


def _unwrapped(node: ast.expr) -> tuple[str, int]:
    """Take `'1.5'` for 1.5, as in `Decimal('1.5')`."""
    match node:
        case ast.Constant(str(number)):
            return _written(_tree(number))
    return _written(node)


def _interval(name: str, arguments: list[ast.expr]) -> str:
    low, high, *opened = arguments if len(arguments) >= 2 else [arguments[0], arguments[0]]
    flags = [isinstance(flag, ast.Constant) and flag.value is True for flag in opened] + [False, False]
    lower, upper = _tex(low), _tex(high)
    left = "(" if flags[0] or name in ("open", "Lopen") or "infty" in lower else "["
    right = ")" if flags[1] or name in ("open", "Ropen") or "infty" in upper else "]"
    return f"{left}{lower}, {upper}{right}"


def _matrix(node: ast.List) -> str:
    rows = [row.elts if isinstance(row, ast.List) else [row] for row in node.elts]
    return r"\begin{pmatrix}" + r" \\ ".join(_row(row, " & ") for row in rows) + r"\end{pmatrix}"


def _comparison(left: ast.expr, operators: list[ast.cmpop], sides: list[ast.expr]) -> str:
    text = _tex(left)
    for operator, side in zip(operators, sides, strict=True):
        if type(operator) not in _COMPARISONS:
            raise _NotAFormula(type(operator).__name__)
        text += f" {_COMPARISONS[type(operator)]} {_tex(side)}"
    return text


def _chain(left: ast.Compare, right: ast.Compare) -> str:
    """Write `(3 < x) & (x < 5)` as one chain."""
    middle = _tex(right.left)
    if _tex(left.comparators[-1]) != middle:
        raise _NotAFormula("two conditions")
    return _tex(left) + _tex(right).removeprefix(middle)


def _row(elements: Sequence[ast.expr], between: str = ", ") -> str:
    return between.join(map(_tex, elements))
