"""FinQA: questions about a page of a financial report, to be answered by a number or by yes or no."""

from __future__ import annotations

import math

from avengers_edge.calibration.benchmarks.benchmark import Asked, Benchmark, LeftOut, Row, shown, tables

_YES_NO = ("yes", "no")
_DECIMALS = 5


def _finqa(row: Row) -> Asked | LeftOut:
    """FinQA: passages around a table, the table, the question; the answer is what the gold program gives."""
    asked = row.inner("qa")
    if not asked.has("exe_ans"):
        return LeftOut("no answer is published")
    question = (
        f"{_page(row)}\n\nBased on the passages and the table, answer the question: {asked.text('question').strip()}"
    )
    meta = row.some("id") | asked.some("program")
    answer = asked.word("exe_ans")
    if answer.lower() in _YES_NO:
        return Asked(f"{question}\nAnswer yes or no.", "label", answer.lower(), _YES_NO, meta=meta)
    try:
        value = float(answer)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        asked.refuse(f"exe_ans is {shown(answer)}, neither a number nor yes or no")
    return Asked(question, "number", _decimal(value), meta=meta)


def _page(row: Row) -> str:
    passages = [line.strip() for name in ("pre_text", "post_text") if name in row.values for line in row.texts(name)]
    lines = [line for line in passages if line.strip(". ")]  # a full stop alone is how the set ends a paragraph
    rows = [[str(cell).strip() for cell in cells] for cells in row.items("table") if isinstance(cells, list | tuple)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    if not table:
        row.refuse("its table is empty")
    text = "Passages from a financial report:\n" + "\n".join(lines) + "\n\n" if lines else ""
    return f"{text}Table:\n{table}"


def _decimal(value: float) -> str:
    """Write a number with 5 decimals at most, and with as many as it has where 5 would leave nothing."""
    rounded = round(value, _DECIMALS)
    if not rounded and value:
        return repr(value)
    text = f"{rounded:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


FINQA = Benchmark(
    name="finqa",
    title="FinQA",
    category="knowledge",
    licence="MIT",
    published="czyssrs/FinQA, dataset/test.json",
    to_question=_finqa,
    files=tables({"test": "test", "train": "train", "validation": "dev", "private": "private_test"}),
)
