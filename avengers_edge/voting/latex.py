"""Presentation taken off an answer: LaTeX text commands and spacing, Markdown emphasis, delimiters, wide letters."""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import re

from avengers_edge.voting.patterns import pattern

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_NESTED = 4  # how deep text commands may stand in each other
_DENIAL = 40  # how far before an answer it can be denied, in characters

_TEXT_COMMAND = pattern(
    r"\\(?:text[a-z]{0,8}|math(?:rm|bf|it|sf|tt|normal)|boldsymbol|bm|mbox|operatorname|underline|emph)"
    r"\s?\{([^{}]*)\}"
)
_DELIMITER = pattern(r"(?<!\\)\\[()\[\]](?![a-zA-Z])|\$\$")
_SIZING = pattern(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![a-zA-Z])\.?")
_GROUPING = pattern(r"(?<=[0-9])(?:(?P<comma>\{,\}|,\\[,! ;:])|\\[,! ;:]|[\u00a0\u2009\u202f])(?=[0-9]{3}(?![0-9]))")
_DECIMAL_COMMA = pattern(r"(?<![0-9.])([0-9][0-9.]*+)\{,\}(?=[0-9])")
_SPACING = pattern(r"(?<!\\)\\[,;: !]|\\q?quad(?![a-zA-Z])|~")
_DEGREES = pattern(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![a-zA-Z])")
_FRACTION_NAME = pattern(r"\\[dtc]frac(?![a-zA-Z])")
_PRODUCT = pattern(r"\\(?:times|cdot)(?![a-zA-Z])|[×·⋅∙]")
_ESCAPED = pattern(r"(?<!\\)\\([$%#&_])")
_EMPHASIS = ' \t\r\n*_`"“”‘’'
_STOPS = ".;,。、"
_PLACEHOLDER = pattern(r"<[a-zA-Z][\w ,/-]{1,40}>|\[(?:your |the |final )[\w ,/-]{0,40}\]|\.{2,}|…|_{2,}")

_DENIED = pattern(
    r"(?:(?<!\w)(?:not|never|rather than|instead of|as opposed to|nicht|statt|anstatt|pas|plutôt que|au lieu de"
    r"|non|non pas|y no|en lugar de|en vez de)(?: (?:the|a|an|just|simply|die|der|das|la|le|el))?"
    r"(?: (?:option|choice|answer))?"
    r"|n['’]t|, ?no|不是|而非|并非|並非)[\s:*_(\"'`$]*$",
    re.IGNORECASE,
)
_DENIED_AFTER = pattern(
    r"[\s*_)\"'`$]{0,4}(?:(?:\w{1,3}\s?)?(?:ではなく|じゃなく|ではありません|ではない)"
    r"|(?:is|are|was|would be) (?:wrong|incorrect|not (?:right|correct|the answer)"
    r"|too (?:big|small|large|high|low))\b)",
    re.IGNORECASE,
)


def plain(body: str) -> str:
    r"""Rewrite LaTeX presentation as plain characters; structure such as `\frac`, `\sqrt` and `\\` stays.

    `5\,\text{cm}` becomes `5  cm`, `1{,}234` becomes `1,234`, `50\%` becomes `50%`, `\dfrac` becomes `\frac`, and
    full-width letters become plain ones.
    """
    body = narrow(body)
    for _ in range(_NESTED):
        before, body = body, _TEXT_COMMAND.sub(r" \1", body)
        if body == before:
            break
    body = _SIZING.sub("", body)
    body = _GROUPING.sub(lambda match: "," if match["comma"] else "", body)
    body = _DECIMAL_COMMA.sub(lambda match: match[1] + ("," if "." in match[1] else "."), body)
    body = _DELIMITER.sub(" ", body)
    body = _SPACING.sub(" ", body)
    body = _DEGREES.sub("°", body)
    body = _FRACTION_NAME.sub(r"\\frac", body)
    body = _PRODUCT.sub("*", body)
    return _ESCAPED.sub(r"\1", body).replace("−", "-")


def narrow(text: str) -> str:
    """Write full-width letters, figures and signs as their plain forms, one for one."""
    return text.translate(_FULL_WIDTH)


def bare(body: str) -> str:
    """Strip emphasis, quotes, an enclosing pair of math delimiters and trailing punctuation; "" for a placeholder."""
    while True:
        stripped = body.lstrip(_EMPHASIS).rstrip(_EMPHASIS + _STOPS)
        for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inside = stripped[len(opening) : len(stripped) - len(closing)]
            if stripped.startswith(opening) and stripped.endswith(closing) and inside and opening not in inside:
                stripped = inside
        if stripped == body:
            return "" if _PLACEHOLDER.fullmatch(body) else body
        body = stripped


def denied(text: str, start: int, end: int) -> bool:
    """Return whether what stands there is said not to be the answer: the 8 of "7, not 8" and of "7 rather than 8"."""
    before = text[max(0, start - _DENIAL) : start]
    return _DENIED.search(before) is not None or _DENIED_AFTER.match(text, end) is not None
