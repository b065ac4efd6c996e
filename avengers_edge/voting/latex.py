"""Presentation taken off an answer: LaTeX text commands and spacing, Markdown emphasis, math delimiters."""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import re

_TEXT_COMMAND = re.compile(r"\\(?:text[a-z]{0,8}|math(?:rm|bf|it|sf|tt)|mbox|operatorname)\s?\{([^{}]*)\}")
_DELIMITER = re.compile(r"\\[()\[\]](?![a-zA-Z])|\$\$")
_SIZING = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![a-zA-Z])\.?")
_GROUPING = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[,! ;:]|,\\!|[\u00a0\u2009\u202f])(?=[0-9]{3}(?![0-9]))")
_SPACING = re.compile(r"\\[,;: !]|\\q?quad(?![a-zA-Z])|~")
_DEGREES = re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![a-zA-Z])")
_FRACTION_NAME = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_PRODUCT = re.compile(r"\\(?:times|cdot)(?![a-zA-Z])|[×·⋅∙]")
_ESCAPED = re.compile(r"\\([$%#&_])")
_EMPHASIS = ' \t\r\n*_`"“”‘’'
_PLACEHOLDER = re.compile(r"<[a-zA-Z][\w ,/-]{0,40}>|\[(?:your |the |final )[\w ,/-]{0,40}\]|\.{2,}|…|_{2,}")


def plain(body: str) -> str:
    r"""Rewrite LaTeX presentation as plain characters; structure such as `\frac` and `\sqrt` stays.

    `5\,\text{cm}` becomes `5  cm`, `1{,}234` becomes `1,234`, `50\%` becomes `50%`, `\dfrac` becomes `\frac`.
    """
    body = _TEXT_COMMAND.sub(r" \1", body)
    body = _SIZING.sub("", body)
    body = _GROUPING.sub(",", body)
    body = _DELIMITER.sub(" ", body)
    body = _SPACING.sub(" ", body)
    body = _DEGREES.sub("°", body)
    body = _FRACTION_NAME.sub(r"\\frac", body)
    body = _PRODUCT.sub("*", body)
    return _ESCAPED.sub(r"\1", body).replace("−", "-")


def bare(body: str) -> str:
    """Strip emphasis, quotes, an enclosing pair of math delimiters and trailing punctuation; "" for a placeholder."""
    while True:
        stripped = body.strip(_EMPHASIS).rstrip(".;,").strip(_EMPHASIS)
        for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            inside = stripped[len(opening) : len(stripped) - len(closing)]
            if stripped.startswith(opening) and stripped.endswith(closing) and inside and opening not in inside:
                stripped = inside
        if stripped == body:
            return "" if _PLACEHOLDER.fullmatch(body) else body
        body = stripped
