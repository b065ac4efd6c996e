"""MBPP, HumanEval and StudentEval: what is asked is code, and tests decide.

StudentEval is written from its data set card and from how the BigCode evaluation harness runs it: its table is behind a
consent form on the hub.
"""

from __future__ import annotations

import re

from avengers_edge.calibration.benchmarks.benchmark import Asked, Benchmark, HubTable, LeftOut, Row, tables
from avengers_edge.calibration.questions import CodeTests

_DEFINED = re.compile(r"^def\s+(\w+)", re.MULTILINE)
_STUDENT_SUBSETS = ("is_first_success", "is_last_success", "is_first_failure", "is_last_failure")
_COMPLETE = (
    "Complete the following Python function. "
    "Return the whole function, including the signature and any imports it needs."
)


def _mbpp(row: Row) -> Asked | LeftOut:
    """MBPP: the description with its asserts, as in the paper; the full file and the sanitized one.

    The task's number decides its split: up to 10 prompt, up to 510 test, up to 600 validation, then train.
    """
    task = row.whole("task_id")
    split = "prompt" if task <= 10 else "test" if task <= 510 else "validation" if task <= 600 else "train"
    if split != row.split:
        return LeftOut(f"belongs to the split {split}")
    tests = "\n".join(line.strip() for line in row.texts("test_list"))
    reference = row.text("code").replace("\r\n", "\n")
    called = [name for name in _DEFINED.findall(reference) if re.search(rf"\b{name}\s*\(", tests)]
    if not called:
        row.refuse("its tests call no function of its code")
    setup = "\n".join(row.texts("test_imports")) if row.has("test_imports") else ""
    if row.has("test_setup_code"):  # it builds what the asserts use out of classes that the candidate defines
        tests = row.text("test_setup_code").replace("\r\n", "\n").strip() + "\n" + tests
    question = (
        f"{row.text('text', 'prompt').strip()}\n\nWrite Python code that passes these tests:\n\n```python\n{tests}\n```"
    )
    code = CodeTests(entry_point=called[0], setup=setup, test=f"{tests}\n", reference=reference)
    return Asked(question, "code", None, tests=code, meta={"task_id": task})


def _humaneval(row: Row) -> Asked | LeftOut:
    """HumanEval: a signature with its docstring; `setup` is what stands before the function asked for."""
    prompt, entry = row.text("prompt"), row.text("entry_point")
    code = CodeTests(
        entry_point=entry,
        setup=_before(row, prompt, entry),
        test=f"{row.text('test').rstrip()}\n\ncheck({entry})\n",
        reference=prompt + row.text("canonical_solution"),
    )
    return Asked(_complete(prompt), "code", None, tests=code, meta={"task_id": row.text("task_id")})


def _studenteval(row: Row) -> Asked | LeftOut:
    """StudentEval: prompts by students; the four subsets that it is scored on."""
    told = [name for name in _STUDENT_SUBSETS if row.has(name)]
    subset = next((name for name in told if row.flag(name)), None)
    if told and subset is None:
        return LeftOut("is in none of the four subsets: neither a first nor a last attempt")
    prompt, entry = row.text("prompt"), row.text("entrypoint")
    code = CodeTests(entry_point=entry, setup=_before(row, prompt, entry), test=f"{row.text('assertions').strip()}\n")
    meta = row.some("problem", "username") | ({"subset": subset.removeprefix("is_")} if subset else {})
    return Asked(_complete(prompt), "code", None, tests=code, meta=meta)


def _complete(prompt: str) -> str:
    return f"{_COMPLETE}\n\n```python\n{prompt.rstrip()}\n```"


def _before(row: Row, prompt: str, entry: str) -> str:
    """Cut off the prompt where the function asked for begins."""
    begin = re.search(rf"^def\s+{re.escape(entry)}\s*\(", prompt, re.MULTILINE)
    return prompt[: begin.start()] if begin else row.refuse(f"its prompt does not define {entry}")


MBPP = Benchmark(
    name="mbpp",
    title="MBPP",
    category="code",
    licence="CC-BY-4.0",
    published="google-research/google-research, mbpp/mbpp.jsonl or sanitized-mbpp.json; on the hub: "
    "google-research-datasets/mbpp",
    to_question=_mbpp,
    files={
        split: (*patterns, "**/mbpp.jsonl", "**/*mbpp*.json*")
        for split, patterns in tables(
            {"test": "test", "train": "train", "validation": "validation", "prompt": "prompt"}
        ).items()
    },
    hub=tuple(
        HubTable("google-research-datasets/mbpp", "full", split, split)
        for split in ("test", "train", "validation", "prompt")
    ),
)
HUMANEVAL = Benchmark(
    name="humaneval",
    title="HumanEval",
    category="code",
    licence="MIT",
    published="openai/human-eval, data/HumanEval.jsonl.gz; on the hub: openai/openai_humaneval",
    to_question=_humaneval,
    files=tables({"test": ("HumanEval", "test")}),
    hub=(HubTable("openai/openai_humaneval"),),
)
STUDENTEVAL = Benchmark(
    name="studenteval",
    title="StudentEval",
    category="code",
    licence="see its data set card; access on the hub asks for consent",
    published="on the hub: wellesley-easel/StudentEval",
    to_question=_studenteval,
    files=tables({"test": "test"}),
    hub=(HubTable("wellesley-easel/StudentEval"),),
)
