"""KOR-Bench, Knights and Knaves, BIG-Bench Hard and BIG-Bench Extra Hard."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from avengers_edge._util.toml_files import read_toml
from avengers_edge.calibration.benchmarks.published import read_table
from avengers_edge.calibration.benchmarks.rows import (
    ASK_OPTION,
    LETTERS,
    Asked,
    LeftOut,
    Row,
    number_or_expression,
    shown,
)

_KOR_OPTIONS = re.compile(r"^Options?:\s*(A\..*?)\s*(?=^Provide your|\Z)", re.MULTILINE | re.DOTALL)
_KNIGHTS_FORMAT = (
    "End your answer with one line per person, in the order they were introduced, "
    "each of the form `<name> is a knight` or `<name> is a knave`."
)
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


class _Prompts(msgspec.Struct, forbid_unknown_fields=True):
    """The authors' prompts by task, as in `prompts.toml`."""

    korbench: dict[str, str]
    bbh: dict[str, str]


@functools.cache
def _prompts() -> _Prompts:
    return read_toml(Path(__file__).with_name("prompts.toml"), _Prompts)


def korbench_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each sample the text of its rule, from the rule.jsonl beside it, unless it has it already."""

    @functools.cache
    def rules(path: Path) -> dict[str, str]:
        lines = (Row(values, where) for where, values in read_table(path))
        return {line.word("idx"): line.text("rule_content") for line in lines}

    for row in rows:
        if row.has("rule_content"):
            yield row
            continue
        if row.file is None:
            row.refuse("has no rule_content: join rule.jsonl and sample.jsonl by rule_id")
        path, wanted = row.file.with_name("rule.jsonl"), row.word("rule_id")
        if wanted not in rules(path):
            row.refuse(f"follows rule {shown(wanted)}, which {path} does not have")
        yield row.with_values({"rule_content": rules(path)[wanted]})


def korbench(row: Row) -> Asked:
    """KOR-Bench: the official zero-shot prompt; the answer is what [[ ]] encloses."""
    task, prompts = row.text("task"), _prompts().korbench
    if task not in prompts:
        row.refuse(f"has the task {shown(task)}: KOR-Bench knows {', '.join(prompts)}")
    asked, answer = row.text("question").strip(), row.word("answer")
    if answer.startswith("[[") and answer.endswith("]]"):
        answer = answer[1:-1] if "];[" in answer.replace(" ", "") else answer[2:-2].strip()
    if not answer:
        row.refuse("its answer is empty")
    meta = {"task": task, "rule_id": row.word("rule_id"), "idx": row.word("idx")}
    choices = None
    if task == "counterfactual":
        asked, choices = _kor_options(row, asked)
        if answer not in tuple(LETTERS[: len(choices)]):
            row.refuse(f"its answer is {shown(answer)}, which is none of its {len(choices)} options")
    prompt = prompts[task].format(rule=row.text("rule_content").strip(), question=asked)
    if task == "operation":
        kind, answer = number_or_expression(row, answer)
        return Asked(prompt, kind, answer, meta=meta)
    return Asked(prompt, "choice" if choices else "text", answer, choices, meta=meta)


def _kor_options(row: Row, asked: str) -> tuple[str, tuple[str, ...]]:
    """Give each option of a counterfactual question a line of its own; the set parts them by ##, # or a space."""
    found = _KOR_OPTIONS.search(asked)
    if not found:
        row.refuse("has no options")
    choices: list[str] = []
    rest = found[1]
    for letter in LETTERS:
        if not (begin := re.match(rf"[#\s]*{letter}\.\s*", rest)):
            break
        rest = rest[begin.end() :]
        end = re.search(rf"[#\s]+{chr(ord(letter) + 1)}\.|$", rest, re.DOTALL)
        cut = end.start() if end else len(rest)
        choices.append(rest[:cut].strip())
        rest = rest[cut:]
    if rest.strip("# \n") or len(choices) < 2:
        row.refuse(f"has options that cannot be told apart: {shown(found[1])}")
    return re.sub(r"\s*##\s*", "\n", asked).replace("Options: ", "Options:\n"), tuple(choices)


def knights(row: Row) -> Asked:
    """Knights and Knaves: who is what, everyone in the order of their introduction."""
    names, solution = row.texts("names"), row.value(tuple[bool, ...], "solution")
    if len(names) != len(solution) or len(names) < 2:
        row.refuse(f"has {len(names)} names and a solution for {len(solution)}")
    said = [f"{name} is a {'knight' if knight else 'knave'}" for name, knight in zip(names, solution, strict=True)]
    question = f"{row.text('quiz').strip()}\n\n{_KNIGHTS_FORMAT}"
    return Asked(question, "text", ", ".join(said), meta={"people": len(names)} | row.some("index"))


def bbh(row: Row) -> Asked | LeftOut:
    """BBH: the line with which the authors' chain-of-thought prompt of the task begins, then the input as published."""
    task, lines = row.text("task"), _prompts().bbh
    if task not in lines:
        row.refuse(f"has the task {shown(task)}: BBH knows {', '.join(lines)}")
    return _typed(row, task, f"{lines[task]}\n\n{row.text('input')}", _BBH_LABELS.get(task))


def bbeh(row: Row) -> Asked | LeftOut:
    """BBEH: the input as published; it says itself how to answer."""
    task = bbeh_task(row.word("task")) if row.has("task") else "mini"
    return _typed(row, task, row.text("input").strip(), _BBEH_LABELS.get(task))


def bbeh_task(said: str) -> str:
    """Write a task's name as folders do."""
    return said.strip().lower().replace(" ", "_").removeprefix("bbeh_")


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
    return Asked(said, "number" if _NUMBER.fullmatch(target) else "text", target, meta=meta)


def _lettered(said: str, letter: str, meta: Mapping[str, object]) -> Asked | LeftOut:
    """Take the options out of the text: the last run of lines (A), (B), ... in it."""
    options = _OPTION.findall(said)
    last = max((at for at, (name, _) in enumerate(options) if name == "A"), default=0)
    letters = "".join(name for name, _ in options[last:])
    if not letters or letters != LETTERS[: len(letters)]:
        return LeftOut("its options are not lettered from A on")
    if letter not in letters:
        return LeftOut("the target is not one of the options")
    choices = tuple(option.strip() for _, option in options[last:])
    return Asked(f"{said}\n\n{ASK_OPTION}", "choice", letter, choices, meta=meta)
