"""From a question and a model's text to right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from avengers_edge.calibration.graders.algebra import Algebra
from avengers_edge.calibration.graders.bbh import bbh
from avengers_edge.calibration.graders.code import Passes, code_works
from avengers_edge.calibration.graders.finqa import finqa
from avengers_edge.calibration.graders.formulas import Equal, is_formula
from avengers_edge.calibration.graders.knights import knights
from avengers_edge.calibration.graders.korbench import korbench
from avengers_edge.calibration.graders.published import bbeh, supergpqa
from avengers_edge.calibration.graders.readers import same_key, same_text
from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest
from avengers_edge.records import Closing
from avengers_edge.sandbox.programs import SandboxJudge

Rule = Callable[[Question, str, bool, Equal], bool]


class Grader(Closing):
    """Grades answers; a context manager, used from any thread.

    It owns the process that compares formulas, which starts with the first pair that cannot be compared by sight, and
    the sandbox that runs code.

    Args:
        equal: compares formulas in its place.
        run: runs code in its place.

    """

    def __init__(self, *, equal: Equal | None = None, run: Passes | None = None) -> None:
        self._algebra = Algebra()
        self._equal: Equal = equal or self._algebra
        self._run: Passes = run or SandboxJudge().passes

    def close(self) -> None:
        """End the process that compares formulas."""
        self._algebra.close()

    def grade(self, question: Question, text: str, *, truncated: bool = False) -> bool:
        """Tell whether a model's text answers the question rightly.

        Raises:
            BadRequest: the question has no gold answer, or asks for code and has no tests.
            MissingExtra: a formula has to be compared and Math-Verify is not installed.
            NoSandbox: code has to be run and nothing here can shut it in.

        """
        text = text.replace("\r\n", "\n")
        if question.answer_type == "code":
            return code_works(question, text, truncated, self._run)
        if question.answer is None:
            raise BadRequest(f"question {question.id!r} has no answer to compare with: give it one")
        rule = _BY_DATASET.get(question.dataset) or _BY_TYPE[question.answer_type]
        return rule(question, text, truncated, self._equal)


def grade(question: Question, text: str, *, truncated: bool = False) -> bool:
    """Grade one answer; `Grader` grades many without starting anew each time.

    Raises:
        BadRequest: the question has no gold answer, or asks for code and has no tests.
        MissingExtra: a formula has to be compared and Math-Verify is not installed.
        NoSandbox: code has to be run and nothing here can shut it in.

    """
    with Grader() as grader:
        return grader.grade(question, text, truncated=truncated)


def _formula(question: Question, text: str, truncated: bool, equal: Equal) -> bool:
    return is_formula(str(question.answer), text, truncated, equal)


def _key(question: Question, text: str, truncated: bool, _: Equal) -> bool:
    return same_key(question, text, truncated)


def _text(question: Question, text: str, truncated: bool, _: Equal) -> bool:
    return same_text(str(question.answer), text, truncated)


_BY_TYPE: Mapping[str, Rule] = MappingProxyType(
    {"number": _key, "choice": _key, "label": _key, "expression": _formula, "text": _text}
)
_BY_DATASET: Mapping[str, Rule] = MappingProxyType(
    {
        "finqa": lambda question, text, truncated, _: finqa(question, text, truncated),
        "kandk": lambda question, text, truncated, _: knights(question, text, truncated),
        "builtin_knights": lambda question, text, truncated, _: knights(question, text, truncated),
        "bbh": lambda question, text, truncated, _: bbh(question, text, truncated),
        "bbeh": lambda question, text, truncated, _: bbeh(question, text, truncated),
        "supergpqa": lambda question, text, truncated, _: supergpqa(question, text, truncated),
        "korbench": korbench,
    }
)
