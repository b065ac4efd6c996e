"""What the voting scripts share: which questions are drawn, how they are asked, and the lines an earlier run wrote."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avengers_edge.calibration.questions import Question, read_questions
from avengers_edge.records import Member, Request, SamplingParams
from avengers_edge.ways import messages_for


def choose(files: Sequence[Path], per_file: int, seed: int, split: str = "train") -> list[Question]:
    """Draw the same questions every time, from the given split where a file has it.

    The files take turns, so that a run that was stopped still covers all of them.
    """
    drawn = []
    for path in files:
        rows = [question for question in read_questions(path) if question.answer_type != "code"]
        pool = [question for question in rows if question.split == split] or rows
        random.Random(seed).shuffle(pool)
        drawn.append(pool[:per_file])
    turns = itertools.zip_longest(*drawn)
    return [question for turn in turns for question in turn if question is not None]


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Read what an earlier run wrote; a last line cut by a kill is dropped."""
    if not out.exists():
        return []
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        out.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def as_request(question: Question, member: Member, max_tokens: int) -> Request:
    """Ask a question as the product would, its kind being known."""
    kind = question.answer_type
    sampling = member.sampling(kind, SamplingParams(temperature=0, max_tokens=max_tokens))
    sampling = replace(sampling, max_tokens=min(sampling.max_tokens, max_tokens))
    return Request(messages_for(question.question, kind, member), sampling)
