r"""Formulas as canonical strings, without an algebra system.

Two spellings of one formula get one key (`\dfrac{\pi}{2}`, `\frac{\pi}2`, `π/2`); two formulas that are equal only by
a calculation do not (`2(x+1)` and `2x+2`). A purely numeric formula has the key of its number.
"""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import hashlib
import re

from avengers_edge.voting.latex import bare, denied, plain
from avengers_edge.voting.numbers import is_list, last_number, number_key, simplify, whole_number
from avengers_edge.voting.patterns import pattern

_LONGEST = 600
_DEEPEST = 40

_ASSIGNMENT = pattern(r"(?:[a-zA-Z]\w{0,8}|\\[a-z]{2,8})(?:\([a-zA-Z, ]{1,12}\))?\s*(?:=|\\in(?![a-z])|∈)\s*(?=\S)")
_UNIT = pattern(
    r"(?<=[0-9})])[ ]*(?:°[CF]?|%|(?:(?:square|cubic|sq)[ .]*)?(?:[ckm]?m|kg|inch(?:es)?|in|f(?:oo|ee)?t|yards?|miles?|"
    r"(?:centi|milli|kilo)?met(?:er|re)s?|hours?|minutes?|seconds?|days?|weeks?|years?|degrees?|radians?|dollars?|cents?|"
    r"percent|units?|points?|ways)(?:\^?[23]|[²³])?|mph|km/h|m/s)$"
)
_SYMBOLS = str.maketrans(
    {
        **{"π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "±": r"\pm ", "θ": r"\theta "},
        **{"≤": r"\le ", "≥": r"\ge ", "∪": r"\cup "},
    }
)
_SYNONYMS = pattern(r"\\(leq|geq|neq)(?![a-z])")
_FUNCTIONS = "sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|arcsin|arccos|arctan"
_WORDS = pattern(rf"(?<![\\a-zA-Z])(sqrt|pi|infinity|infty|{_FUNCTIONS})(?![a-zA-Z])")
_ARGUMENT = pattern(rf"(\\(?:{_FUNCTIONS}))\(([0-9]+|[a-zA-Z]|\\[a-z]+)\)")
_SHORT_FRACTION = pattern(r"\\frac\s*(?:([0-9a-z])|(\{[^{}]*\}))\s*(?:([0-9a-z])|(\{[^{}]*\}))")
_SHORT_ROOT = pattern(r"\\sqrt\s*(?:([0-9a-z])(?![0-9])|([0-9]+)|(\\[a-z]+))")
_FRACTION = pattern(r"\\frac\{([^{}]*)\}\{([^{}]*)\}")
_ROOT = pattern(r"\\sqrt(\[[^\[\]{}]*\])?\{([^{}]*)\}")
_SCRIPT = pattern(r"([\^_])\{([^{}]*)\}")
_ATOM = pattern(r"-?(?:[0-9.]+|[a-zA-Z]|\\[a-z]+)|[0-9]+[a-zA-Z]|[0-9]*\\pi|\\sqrt\([^()]*\)")
_REDUNDANT_PRODUCT = pattern(r"(?<=[0-9a-zA-Z)])\*(?=[a-zA-Z(\\])")
_MATH_SPAN = pattern(
    r"\$\$\s{0,4}([^$\n]{1,400}?)\s{0,4}\$\$|\$\$?([^$\n]{1,400})\$\$?"
    r"|\\\(([^\n]{1,400}?)\\\)|\\\[\s{0,4}([^\n]{1,400}?)\s{0,4}\\\]"
)
_ENVIRONMENT = pattern(
    r"\\begin\s?\{([a-zA-Z]{1,12})\*?\}(?:\s?\{[lcr|. ]{0,20}\})?(.{0,1500}?)\\end\s?\{\1\*?\}", re.DOTALL
)
_MATRICES = frozenset({"matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array"})
_ROW_END = pattern(r"\\\\(?:\s?\[[^\]\n]{0,12}\])?|\\cr(?![a-z])")
_RULE = pattern(r"\\hline(?![a-z])")
_WRAPPED_MATRIX = pattern(r"[(\[|]\s*(\[\[.*\]\])\s*[)\]|]", re.DOTALL)
_EITHER = pattern(r"\s*(?:,\s*)?(?<![a-zA-Z\\])(?:or|and|oder|und|ou|et)(?![a-zA-Z])\s*|\s*;\s*")
_ROOT_OF = pattern(r"\s*([a-zA-Z](?:_\{?\w\}?)?)\s*=\s*(?=\S)")
_VERB = pattern(r"\b(?:is|are|equals|be|makes|gives|get|becomes)\b[\s:]{1,3}(?=\S)")
_DENIAL = pattern(r"[,;]?\s\(?(?:and |but )?(?:not|never|rather than|instead of)\b")
_LONGEST_WITH_MATRICES = 4000
_ONLY_FORMULA = pattern(
    r"(?=.{1,80}$)(?=.*[0-9a-zA-Z])(?:\\(?:text|mathrm)\{[^{}]*\}|\\[a-zA-Z]+|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|[^a-zA-Z])+"
)
_MATHY = pattern(r"[0-9\\^=+*/√π∞]|^\W*[a-zA-Z]\W*$")


def expression_in(body: str, *, announced: bool = True) -> str | None:
    """Find the formula that a line states: its last math span, or the line itself when it is short.

    With `announced` False the line must look like mathematics: words alone are prose.
    """
    body = _on_one_line(body.replace("\\$", ""))
    if "$" in body or "\\(" in body or "\\[" in body:
        span = _last_span(body)
        if span is not None and len(bare(body)) > len(span) + 4:
            return _result(span)
    body = bare(body)
    if not body or len(body) > _LONGEST:
        return None
    body = _asserted(body, prose=not announced)
    words = re.findall(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}", body)
    if len(words) > 6 or (not announced and (len(words) > 3 or not _MATHY.search(body))):
        return last_number(body) if len(words) <= 30 and not announced else None
    return body


def last_formula(text: str) -> str | None:
    """Find the last formula of a text without markers: its last line when that is one, else its last math span."""
    text = text.strip()
    if "\n" not in text and len(text) <= 80 and (found := expression_in(text, announced=False)):
        return found
    tail = _on_one_line(text[-4000:])
    last_line = tail.rpartition("\n")[2]
    if _ONLY_FORMULA.fullmatch(last_line) and "$" not in last_line and "\\end" not in last_line:
        return expression_in(last_line, announced=False)
    span = _last_span(tail)
    return None if span is None else _result(span)


def expression_key(body: str) -> str | None:
    """Make the canonical form of a formula; None if nothing is left of it."""
    formula = bare(plain(body))
    if "\\begin" in formula and len(formula) <= _LONGEST_WITH_MATRICES:
        formula = _with_matrices(formula)
    formula = _without_units(formula.removesuffix("\\\\"))
    roots = _roots(formula)
    if len(roots) > 1:
        formula = ", ".join(roots)
    elif len(_top_level_parts(formula, "=")) == 2:
        formula = _ASSIGNMENT.sub("", formula, count=1) if _ASSIGNMENT.match(formula) else formula
    elif found := re.match(r"[a-zA-Z]\s*(?:\\in(?![a-z])|∈)\s*", formula):
        formula = formula[found.end() :]
    formula = formula.strip()
    if not formula:
        return None
    if len(formula) > _LONGEST:
        return hashlib.sha256("".join(formula.split()).encode("utf-8", "replace")).hexdigest()[:16]
    return _canonical(formula, depth=0)


def _asserted(body: str, *, prose: bool) -> str:
    """Cut off what is denied, "7, not 8", and in prose what leads up to the answer, "it is 7"."""
    verbs = list(_VERB.finditer(body)) if prose and "\\" not in body else []
    said = body[verbs[-1].end() :] if verbs else body
    if clause := _DENIAL.search(said, 1):
        said = said[: clause.start()]
    return bare(said) or body


def _last_span(text: str) -> str | None:
    spans = [match for match in _MATH_SPAN.finditer(text) if not denied(text, *match.span())]
    return next((group for group in spans[-1].groups() if group), None) if spans else None


def _on_one_line(text: str) -> str:
    """Write each matrix on one line, as a person would read it."""
    if "\\begin" not in text or len(text) > _LONGEST_WITH_MATRICES:
        return text
    return _ENVIRONMENT.sub(lambda match: " ".join(match.group().split()), text)


def _with_matrices(formula: str) -> str:
    """Write matrices row by row, `[[1,2],[3,4]]`, whatever brackets they have; a determinant is another thing."""
    formula = _ENVIRONMENT.sub(_matrix, formula)
    wrapped = _WRAPPED_MATRIX.fullmatch(formula.strip())
    return wrapped[1] if wrapped and "]]" not in wrapped[1][:-2] else formula


def _matrix(match: re.Match[str]) -> str:
    rows = [row for row in _ROW_END.split(_RULE.sub("", match[2])) if row.strip()]
    if not rows:
        return match.group()
    cells = [",".join(_canonical(cell.strip(), depth=1) for cell in row.split("&")) for row in rows]
    name = "" if match[1] in _MATRICES else f"\\{match[1]} "
    return name + "[" + ",".join(f"[{row}]" for row in cells) + "]"


def _roots(formula: str) -> list[str]:
    """Split `x=1, x=2`, `x = 1 or x = 2` and `1 and 2` into their values; a single value is left alone."""
    if _as_number(formula):  # as `1,234` and "one hundred and one" are
        return [formula]
    parts = _top_level_parts(_EITHER.sub(", ", formula), ",")
    names = [match[1] if (match := _ROOT_OF.match(part)) else None for part in parts]
    if len(parts) > 1 and names[0] and set(names[1:]) <= {names[0], None}:
        parts = [_ROOT_OF.sub("", part, count=1) if name else part for part, name in zip(parts, names, strict=True)]
    return parts if len(parts) > 1 else [formula]


def _as_number(formula: str) -> str | None:
    number = whole_number(formula)
    return None if number is None or is_list(number) else number


def _result(formula: str) -> str | None:
    """Take the right-hand side of a chain of equations, `60/0.75 = 80`; a single `y = 2x` stays whole."""
    sides = _top_level_parts(formula, "=")
    return bare(sides[-1] if len(sides) > 2 else formula) or None


def _canonical(formula: str, depth: int) -> str:
    if number := _as_number(_without_units(simplify(formula).strip())):
        return number_key(number) or number
    if depth < 3:
        opening, inside, closing = _brackets(formula)
        parts = [part.strip().removeprefix("+") for part in _top_level_parts(inside, ",")]
        if opening == "[" and len(parts) == 1 and parts[0].startswith("(") and _brackets(parts[0])[0]:
            return _canonical(parts[0], depth + 1)  # the brackets that a question asked for, around the answer's own
        if opening and (len(parts) > 1 or opening == "{"):
            elements = [_canonical(part, depth + 1) for part in parts]
            return opening + ",".join(sorted(elements) if opening == "{" else elements) + closing
        if not opening and len(parts) > 1:
            return ",".join(sorted(_canonical(part, depth + 1) for part in parts))
    return _flat(formula)


def _flat(formula: str) -> str:
    formula = formula.translate(_SYMBOLS)
    formula = _SYNONYMS.sub(lambda match: "\\" + match[1][:2], formula)
    formula = _WORDS.sub(lambda match: "\\infty " if match[1].startswith("inf") else f"\\{match[1]} ", formula)
    formula = formula.replace("**", "^").replace("\\{", "(").replace("\\}", ")").replace("$", "")
    formula = re.sub(r"\s+", " ", formula)
    for _ in range(_DEEPEST):  # from the inside out, one level of braces a turn
        before = formula
        formula = _SHORT_FRACTION.sub(lambda match: "\\frac" + _braced(match, 1) + _braced(match, 3), formula)
        formula = _SHORT_ROOT.sub(lambda match: "\\sqrt{" + (match[1] or match[2] or match[3]) + "}", formula)
        formula = _SCRIPT.sub(lambda match: match[1] + _grouped(match[2]), formula)
        formula = _ROOT.sub(lambda match: f"\\sqrt{match[1] or ''}({match[2].strip()})", formula)
        formula = _FRACTION.sub(_quotient, formula)
        if formula == before:
            break
    formula = "".join(formula.split()).replace("+-", "-")
    return _ARGUMENT.sub(r"\1\2", _REDUNDANT_PRODUCT.sub("", formula))


def _quotient(match: re.Match[str]) -> str:
    r"""Write `\frac{a}{b}` with a slash, the sign of the numerator before it."""
    over = match[1].strip()
    sign = "-" if over.startswith("-") and not re.search(r"[-+]", over[1:]) else ""
    return f"{sign}{_grouped(over.removeprefix(sign))}/{_grouped(match[2])}"


def _braced(match: re.Match[str], group: int) -> str:
    return "{" + match[group] + "}" if match[group] else str(match[group + 1])


def _grouped(part: str) -> str:
    part = "".join(part.split())
    whole = part.startswith("(") and part.endswith(")") and "(" not in part[1:-1] and ")" not in part[1:-1]
    return part if whole or _ATOM.fullmatch(part) else f"({part})"


def _without_units(formula: str) -> str:
    formula = formula.lstrip("$€£") if re.match(r"[$€£]\s*[0-9]", formula) else formula
    return _UNIT.sub("", formula.rstrip()).rstrip()


def _brackets(formula: str) -> tuple[str, str, str]:
    r"""Split one enclosing pair off: ("(", inside, "]"); `\{1,2\}` has "{"; ("", formula, "") if there is none."""
    text = formula.replace("\\{", "\x01").replace("\\}", "\x02").strip()
    if len(text) < 2 or text[0] not in "([\x01" or text[-1] not in ")]\x02":
        return "", formula, ""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{\x01") - (character in ")]}\x02")
        if depth == 0 and at < len(text) - 1:
            return "", formula, ""
    inside = text[1:-1].replace("\x01", "\\{").replace("\x02", "\\}")
    return text[0].replace("\x01", "{"), inside, text[-1].replace("\x02", "}")


def _top_level_parts(text: str, separator: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth <= 0 and text[at - 1 : at] not in ("<", ">", "!"):
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]
