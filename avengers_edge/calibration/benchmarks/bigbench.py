"""BIG-Bench Hard and BIG-Bench Extra Hard."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from avengers_edge.calibration.benchmarks.benchmark import (
    ASK_OPTION,
    LETTERS,
    Asked,
    Benchmark,
    HubTable,
    LeftOut,
    Row,
    shown,
)

_ORDERING = "A logical deduction task which requires deducing the order of a sequence of objects."
_SHUFFLING = (
    "A task requiring determining the final positions of a set of objects given their initial positions and a "
    "description of a sequence of swaps."
)
_BBH_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "boolean_expressions": "Evaluate the result of a random Boolean expression.",
        "causal_judgement": "Answer questions about causal attribution.",
        "date_understanding": "Infer the date from context.",
        "disambiguation_qa": "Clarify the meaning of sentences with ambiguous pronouns.",
        "dyck_languages": "Correctly close a Dyck-n word.",
        "formal_fallacies": "Distinguish deductively valid arguments from formal fallacies.",
        "geometric_shapes": "Name geometric shapes from their SVG paths.",
        "hyperbaton": "Order adjectives correctly in English sentences.",
        "logical_deduction_five_objects": _ORDERING,
        "logical_deduction_seven_objects": _ORDERING,
        "logical_deduction_three_objects": _ORDERING,
        "movie_recommendation": "Recommend movies similar to the given list of movies.",
        "multistep_arithmetic_two": "Solve multi-step arithmetic problems.",
        "navigate": (
            "Given a series of navigation instructions, determine whether one would end up back at the starting point."
        ),
        "object_counting": "Questions that involve enumerating objects and asking the model to count them.",
        "penguins_in_a_table": "Answer questions about a table of penguins and their attributes.",
        "reasoning_about_colored_objects": (
            "Answer extremely simple questions about the colors of objects on a surface."
        ),
        "ruin_names": "Select the humorous edit that 'ruins' the input movie or musical artist name.",
        "salient_translation_error_detection": (
            "Detect the type of error in an English translation of a German source sentence."
        ),
        "snarks": "Determine which of two sentences is sarcastic.",
        "sports_understanding": (
            "Determine whether an artificially constructed sentence relating to sports is plausible or not."
        ),
        "temporal_sequences": (
            "Task description: Answer questions about which times certain events could have occurred."
        ),
        "tracking_shuffled_objects_five_objects": _SHUFFLING,
        "tracking_shuffled_objects_seven_objects": _SHUFFLING,
        "tracking_shuffled_objects_three_objects": _SHUFFLING,
        "web_of_lies": "Evaluate a random boolean function expressed as a word problem.",
        "word_sorting": "Sort a list of words.",
    }
)
"""The line with which the authors' chain-of-thought prompts begin (MIT)."""

_BBH_LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "boolean_expressions": ("True", "False"),
        "causal_judgement": ("Yes", "No"),
        "formal_fallacies": ("valid", "invalid"),
        "navigate": ("Yes", "No"),
        "sports_understanding": ("yes", "no"),
        "web_of_lies": ("Yes", "No"),
    }
)
_UNSAID_LABELS = frozenset({"boolean_expressions", "sports_understanding", "web_of_lies"})
"""The tasks whose input does not say what to choose from."""

_BBEH_LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"boardgame_qa": ("proved", "disproved", "unknown"), "causal_understanding": ("Yes", "No", "Ambiguous")}
)
_OPTION = re.compile(r"^\(([A-Z])\)[ \t]*(.*)$", re.MULTILINE)
_LETTER = re.compile(r"\(([A-Z])\)")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def _bbh(row: Row) -> Asked | LeftOut:
    """BBH: a line that says what the task is, then the input as published."""
    task = row.text("task")
    if task not in _BBH_TASKS:
        row.refuse(f"has the task {shown(task)}: BBH knows {', '.join(_BBH_TASKS)}")
    said = f"{_BBH_TASKS[task]}\n\n{row.text('input')}"
    return _typed(row, task, said, _BBH_LABELS.get(task))


def _bbeh(row: Row) -> Asked | LeftOut:
    """BBEH: the input as published; it says itself how to answer."""
    task = _bbeh_task(row.word("task")) if row.has("task") else "mini"
    return _typed(row, task, row.text("input").strip(), _BBEH_LABELS.get(task))


def _typed(row: Row, task: str, said: str, labels: tuple[str, ...] | None) -> Asked | LeftOut:
    """Type an answer by what it looks like: one of the task's labels, a letter in parentheses, a number, or text."""
    target = row.word("target")
    meta = {"task": task}
    if labels is not None:
        label = next((label for label in labels if label.lower() == target.lower()), None)
        if label is None:
            return LeftOut(f"the target {shown(target)} is none of {', '.join(labels)}")
        ask = f"\n\nAnswer {' or '.join(labels)}." if task in _UNSAID_LABELS else ""
        return Asked(said + ask, "label", label, labels, meta=meta)
    if letter := _LETTER.fullmatch(target):
        return _lettered(said, letter[1], meta)
    if _NUMBER.fullmatch(target):
        return Asked(said, "number", target, meta=meta)
    return Asked(said, "text", target, meta=meta)


def _lettered(said: str, letter: str, meta: Mapping[str, object]) -> Asked | LeftOut:
    """Take the options out of the text: the last run of lines (A), (B), ... in it."""
    options = _OPTION.findall(said)
    last = max((at for at, (name, _) in enumerate(options) if name == "A"), default=0)
    options = options[last:]
    letters = "".join(name for name, _ in options)
    if not letters or letters != LETTERS[: len(letters)]:
        return LeftOut("its options are not lettered from A on")
    if letter not in letters:
        return LeftOut("the target is not one of the options")
    choices = tuple(option.strip() for _, option in options)
    return Asked(f"{said}\n\n{ASK_OPTION}", "choice", letter, choices, meta=meta)


def _bbeh_task(said: str) -> str:
    return said.strip().lower().replace(" ", "_").removeprefix("bbeh_")


def _folder_task(path: Path) -> str:
    return _bbeh_task(path.parent.name) if path.stem == "task" else "mini"


BBH = Benchmark(
    name="bbh",
    title="BIG-Bench Hard",
    category="logic",
    licence="MIT; its authors ask that it stay out of training data",
    published="suzgunmirac/BIG-Bench-Hard, bbh/TASK.json; on the hub: lukaemon/bbh",
    to_question=_bbh,
    files={"test": ("**/bbh/*.json", "*.json", "**/test-*.parquet")},
    hub=tuple(HubTable("lukaemon/bbh", task, part=task) for task in _BBH_TASKS),
    under="examples",
    part=lambda path: path.parent.name if path.suffix == ".parquet" else path.stem,
)
BBEH = Benchmark(
    name="bbeh",
    title="BIG-Bench Extra Hard",
    category="logic",
    licence="Apache-2.0; its authors ask that it stay out of training data",
    published="google-deepmind/bbeh, bbeh/benchmark_tasks/TASK/task.json or bbeh/mini/data.json; on the hub: BBEH/bbeh",
    to_question=_bbeh,
    files={"test": ("**/task.json", "**/mini/data.json", "**/train-*.parquet"), "mini": ("**/mini/data.json",)},
    hub=(HubTable("BBEH/bbeh", published="train"),),
    under="examples",
    part=_folder_task,
)
