"""Questions with lettered options: ARC, MMLU-Pro, GPQA, SuperGPQA, MedQA, MedMCQA, WinoGrande and BRAINTEASER.

GPQA, SuperGPQA and MedMCQA are written from their data set cards and from others' readers: their files are behind a
password, too large for GitHub, or elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from avengers_edge.calibration.benchmarks.rows import (
    LETTERS,
    UNPUBLISHED,
    Asked,
    LeftOut,
    Row,
    multiple_choice,
    place_of_letter,
    shown,
)


def arc(row: Row) -> Asked | LeftOut:
    """ARC: as AI2 publishes it (question.stem, question.choices) or as the hub has it (question, choices.text)."""
    if isinstance(row.values.get("question"), str):
        stem, choices = row.text("question"), row.inner("choices")
        labels, options = choices.texts("label"), choices.texts("text")
    else:
        inner = row.inner("question")
        each = inner.inners("choices")
        stem = inner.text("stem")
        labels, options = tuple(one.word("label") for one in each), tuple(one.text("text") for one in each)
    if not row.has("answerKey"):
        return UNPUBLISHED
    key = row.word("answerKey")
    if key not in labels or len(labels) != len(options):
        row.refuse(f"answerKey is {shown(key)}: its options are {', '.join(labels)}")
    return multiple_choice(row, stem, options, labels.index(key), meta=row.some("id"))


def mmlupro(row: Row) -> Asked:
    """MMLU-Pro: up to ten options; the N/A that filled up early releases goes."""
    options = [option for option in row.texts("options") if option.strip() != "N/A"]
    right = row.value(int, "answer_index") if row.has("answer_index") else place_of_letter(row, "answer")
    meta = row.some("question_id", "src") | {"subject": row.text("category")}
    return multiple_choice(row, row.text("question"), options, right, meta=meta)


def gpqa(row: Row) -> Asked:
    """GPQA: published with the right answer first, so a hash of question and option decides the options' order."""
    stem, right = row.text("Question").strip(), row.text("Correct Answer").strip()
    wrong = (row.text(f"Incorrect Answer {number}").strip() for number in (1, 2, 3))

    def order(option: str) -> bytes:
        return hashlib.sha256(f"{stem}\n{option}".encode(errors="replace")).digest()

    options = sorted((right, *wrong), key=order)
    meta = row.some("Record ID", "Subdomain", "High-level domain")
    named = {name.lower().replace(" ", "_").replace("-", "_"): value for name, value in meta.items()}
    return multiple_choice(row, stem, options, options.index(right), meta=named)


def supergpqa(row: Row) -> Asked:
    """SuperGPQA: four to ten options."""
    meta = row.some("uuid", "discipline", "field", "subfield", "difficulty")
    right = place_of_letter(row, "answer_letter")
    return multiple_choice(row, row.text("question"), row.texts("options"), right, meta=meta)


def medqa(row: Row) -> Asked:
    """MedQA: options as an object from letters to texts."""
    options = row.inner("options")
    letters = sorted(options.values)
    if "".join(letters) != LETTERS[: len(letters)]:
        row.refuse(f"its options are lettered {shown(', '.join(letters))}")
    meta = {"step": row.word("meta_info")} if row.has("meta_info") else {}
    texts = [options.text(letter) for letter in letters]
    return multiple_choice(row, row.text("question"), texts, place_of_letter(row, "answer_idx"), meta=meta)


def medmcqa_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each row `right`, the place of its gold option from 0.

    `cop` counts from 1 in the authors' JSON lines and from 0 on the hub; the first 0 or 4 tells which. Where neither
    comes, it is taken as the authors count.
    """
    waiting: list[Row] = []
    first: int | None = None
    for row in rows:
        if row.has("cop") and first is None:
            first = {0: 0, 4: 1}.get(row.value(int, "cop"))
        waiting.append(row)
        if first is not None:
            yield from (_counted_from(first, each) for each in waiting)
            waiting.clear()
    yield from (_counted_from(1, each) for each in waiting)


def _counted_from(first: int, row: Row) -> Row:
    known = row.has("cop") and row.value(int, "cop") >= 0
    return row.with_values({"right": row.value(int, "cop") - first}) if known else row


def medmcqa(row: Row) -> Asked | LeftOut:
    """MedMCQA: four options; the test set is published without answers."""
    if "right" not in row.values:
        return UNPUBLISHED
    meta = row.some("id", "subject_name", "topic_name", "choice_type")
    options = [row.text(f"op{letter}") for letter in "abcd"]
    return multiple_choice(row, row.text("question"), options, row.value(int, "right"), meta=meta)


def winogrande(row: Row) -> Asked | LeftOut:
    """WinoGrande: which of two words fills the blank; the official test set has no answers."""
    if not row.has("answer"):
        return UNPUBLISHED
    stem = f"Which option fills the blank (_) so that the sentence makes sense?\n\n{row.text('sentence').strip()}"
    options = (row.text("option1"), row.text("option2"))
    return multiple_choice(row, stem, options, row.value(int, "answer") - 1, meta=row.some("qID"))


def brainteaser(row: Row) -> Asked | LeftOut:
    """BRAINTEASER: the options in the order that its authors shuffled them into."""
    if row.has("choice_list"):
        options = tuple(map(str, row.value(tuple[str | int | float, ...], "choice_list")))
    else:
        each = [row.word(name) for name in ("answer", "distractor1", "distractor2", "distractor(unsure)")]
        order = row.value(tuple[int, ...], "choice_order")
        if sorted(order) != [0, 1, 2, 3]:
            row.refuse(f"choice_order is {shown(order)}, not an order of 4 options")
        options = tuple(each[place] for place in order)
    if not row.has("label"):
        return UNPUBLISHED
    return multiple_choice(row, row.text("question"), options, row.value(int, "label"), meta=row.some("id"))
