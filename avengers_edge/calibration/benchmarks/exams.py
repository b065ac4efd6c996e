"""ARC-Challenge, MMLU-Pro, GPQA, SuperGPQA, MedQA and MedMCQA: exam questions with lettered options.

GPQA, SuperGPQA and MedMCQA are written from their data set cards and from others' readers: their files are behind a
password, too large for GitHub, or elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from avengers_edge.calibration.benchmarks.benchmark import (
    LETTERS,
    Asked,
    Benchmark,
    HubTable,
    LeftOut,
    Row,
    multiple_choice,
    place_of_letter,
    shown,
    shuffled,
    tables,
)

_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_MEDMCQA_OPTIONS = ("opa", "opb", "opc", "opd")


def _arc(row: Row) -> Asked | LeftOut:
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
        return LeftOut("no answer is published")
    key = row.word("answerKey")
    if key not in labels or len(labels) != len(options):
        row.refuse(f"answerKey is {shown(key)}: its options are {', '.join(labels)}")
    return multiple_choice(row, stem, options, labels.index(key), meta=row.some("id"))


def _mmlupro(row: Row) -> Asked | LeftOut:
    """MMLU-Pro: up to ten options; the N/A that filled up early releases goes."""
    options = [option for option in row.texts("options") if option.strip() != "N/A"]
    right = row.whole("answer_index") if row.has("answer_index") else place_of_letter(row, "answer")
    meta = row.some("question_id", "src") | {"subject": row.text("category")}
    return multiple_choice(row, row.text("question"), options, right, meta=meta)


def _gpqa(row: Row) -> Asked | LeftOut:
    """GPQA: published with the right answer first, so the question decides the order of the options."""
    right = row.text("Correct Answer").strip()
    stem = row.text("Question").strip()
    options = shuffled((right, *(row.text(name).strip() for name in _WRONG)), stem)
    meta = row.some("Record ID", "Subdomain", "High-level domain")
    named = {name.lower().replace(" ", "_").replace("-", "_"): value for name, value in meta.items()}
    return multiple_choice(row, stem, options, options.index(right), meta=named)


def _supergpqa(row: Row) -> Asked | LeftOut:
    """SuperGPQA: four to ten options."""
    meta = row.some("uuid", "discipline", "field", "subfield", "difficulty")
    right = place_of_letter(row, "answer_letter")
    return multiple_choice(row, row.text("question"), row.texts("options"), right, meta=meta)


def _medqa(row: Row) -> Asked | LeftOut:
    """MedQA: options as an object from letters to texts."""
    options = row.inner("options")
    letters = sorted(str(letter) for letter in options.values)
    if "".join(letters) != LETTERS[: len(letters)]:
        row.refuse(f"its options are lettered {shown(', '.join(letters))}")
    meta = {"step": row.word("meta_info")} if row.has("meta_info") else {}
    texts = [options.text(letter) for letter in letters]
    return multiple_choice(row, row.text("question"), texts, place_of_letter(row, "answer_idx"), meta=meta)


def _count_from_zero(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each row `right`, the place of its gold option from 0.

    `cop` counts from 1 in the authors' JSON lines and from 0 on the hub; the first 0 or 4 tells which. Where neither
    comes, it is taken as the authors count.
    """
    waiting: list[Row] = []
    first: int | None = None
    for row in rows:
        if row.has("cop") and first is None:
            first = {0: 0, 4: 1}.get(row.whole("cop"))
        waiting.append(row)
        if first is not None:
            yield from (_shifted(each, first) for each in waiting)
            waiting.clear()
    yield from (_shifted(each, 1) for each in waiting)


def _shifted(row: Row, first: int) -> Row:
    return row.with_values({"right": row.whole("cop") - first}) if row.has("cop") and row.whole("cop") >= 0 else row


def _medmcqa(row: Row) -> Asked | LeftOut:
    """MedMCQA: four options; the test set is published without answers."""
    if "right" not in row.values:
        return LeftOut("no answer is published")
    meta = row.some("id", "subject_name", "topic_name", "choice_type")
    options = [row.text(name) for name in _MEDMCQA_OPTIONS]
    return multiple_choice(row, row.text("question"), options, row.whole("right"), meta=meta)


ARC_CHALLENGE = Benchmark(
    name="arc_challenge",
    title="ARC-Challenge",
    category="knowledge",
    licence="CC-BY-SA-4.0",
    published="AI2's ARC-V1-Feb2018, ARC-Challenge-Test.jsonl; on the hub: allenai/ai2_arc",
    to_question=_arc,
    files=tables(
        {
            "test": ("ARC-Challenge-Test", "ARC-Challenge/test"),
            "train": ("ARC-Challenge-Train", "ARC-Challenge/train"),
            "validation": ("ARC-Challenge-Dev", "ARC-Challenge/validation"),
        }
    ),
    hub=tuple(HubTable("allenai/ai2_arc", "ARC-Challenge", split, split) for split in ("test", "train", "validation")),
)
MMLUPRO = Benchmark(
    name="mmlupro",
    title="MMLU-Pro",
    category="knowledge",
    licence="MIT (data), Apache-2.0 (repository)",
    published="on the hub: TIGER-Lab/MMLU-Pro",
    to_question=_mmlupro,
    files=tables({"test": "test", "validation": "validation"}),
    hub=tuple(HubTable("TIGER-Lab/MMLU-Pro", None, split, split) for split in ("test", "validation")),
)
GPQA = Benchmark(
    name="gpqa",
    title="GPQA",
    category="knowledge",
    licence="CC-BY-4.0; its authors ask that it not be shown in plain text on line",
    published="idavidrein/gpqa, dataset.zip: gpqa_diamond.csv, gpqa_main.csv; on the hub: Idavidrein/gpqa",
    to_question=_gpqa,
    files=tables({"test": ("gpqa_diamond", "gpqa*"), "main": "gpqa_main", "extended": "gpqa_extended"}),
    hub=(
        HubTable("Idavidrein/gpqa", "gpqa_diamond", "train", "test"),
        HubTable("Idavidrein/gpqa", "gpqa_main", "train", "main"),
        HubTable("Idavidrein/gpqa", "gpqa_extended", "train", "extended"),
    ),
)
SUPERGPQA = Benchmark(
    name="supergpqa",
    title="SuperGPQA",
    category="knowledge",
    licence="ODC-BY or MIT: see its data set card",
    published="SuperGPQA/SuperGPQA, data/SuperGPQA-all.jsonl; on the hub: m-a-p/SuperGPQA",
    to_question=_supergpqa,
    files=tables({"test": ("SuperGPQA-all", "test", "train")}),
    hub=(HubTable("m-a-p/SuperGPQA", published="train"),),
)
MEDQA = Benchmark(
    name="medqa",
    title="MedQA (USMLE)",
    category="knowledge",
    licence="MIT",
    published="jind11/MedQA, data_clean: questions/US/4_options/phrases_no_exclude_test.jsonl; on the hub: "
    "GBaker/MedQA-USMLE-4-options",
    to_question=_medqa,
    files=tables(
        {
            "test": ("US/4_options/phrases_no_exclude_test", "phrases_no_exclude_test", "test"),
            "train": ("US/4_options/phrases_no_exclude_train", "phrases_no_exclude_train", "train"),
            "validation": ("US/4_options/phrases_no_exclude_dev", "phrases_no_exclude_dev", "dev"),
        }
    ),
    hub=tuple(HubTable("GBaker/MedQA-USMLE-4-options", None, split, split) for split in ("test", "train")),
)
MEDMCQA = Benchmark(
    name="medmcqa",
    title="MedMCQA",
    category="knowledge",
    licence="MIT",
    published="medmcqa/medmcqa: dev.json, the labelled set, is our test; on the hub: openlifescienceai/medmcqa",
    to_question=_medmcqa,
    files=tables({"test": ("dev", "validation"), "train": "train", "unlabelled": "test"}),
    hub=(
        HubTable("openlifescienceai/medmcqa", None, "validation", "test"),
        HubTable("openlifescienceai/medmcqa", None, "train", "train"),
    ),
    unfold=_count_from_zero,
)
