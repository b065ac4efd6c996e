"""What is known of a benchmark: what it is called, where it is published, and how its rows become questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from avengers_edge.calibration.benchmarks.rows import Row
from avengers_edge.calibration.questions import CodeTests, Question
from avengers_edge.records import Kind


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a row tells it; identifier, data set, category and split are the benchmark's to add."""

    question: str
    answer_type: Kind
    answer: str | None
    choices: tuple[str, ...] | None = None
    tests: CodeTests | None = None
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a sound row becomes no question."""

    reason: str


@dataclass(frozen=True, slots=True)
class HubTable:
    """One table of a data set on the Hugging Face hub; `split` is ours, `published` what the hub calls it.

    `part` tells it from the split's other tables; where the rows do not name their task, it is that.
    """

    repository: str
    config: str | None = None
    published: str = "test"
    split: str = "test"
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of the Avengers paper or beside it.

    Attributes:
        name: as in question files.
        title: as its authors write it.
        category: math, code, logic, knowledge or affective.
        licence: what its publishers say; nothing of it is shipped here.
        published: where its files are.
        to_question: turns a row into a question, or says why not; pure.
        files: split -> patterns of its files below a folder; those of the first pattern that finds any are read.
        hub: its tables on the hub that can be read without running anybody's code; empty where there are none.
        unfold: turns the rows as published into rows that each hold one whole question.
        under: the name under which a JSON file keeps its list of rows.
        part: names the part of the benchmark that a file holds (a task, say), from its path.
        read: reads a file that is no table.

    """

    name: str
    title: str
    category: str
    licence: str
    published: str
    to_question: Callable[[Row], Asked | LeftOut]
    files: Mapping[str, tuple[str, ...]]
    hub: tuple[HubTable, ...] = ()
    unfold: Callable[[Iterable[Row]], Iterator[Row]] = iter
    under: str | None = None
    part: Callable[[Path], str] | None = None
    read: Callable[[Path], Iterator[tuple[str, Mapping[str, object]]]] | None = None

    def convert(self, row: Row) -> Question | LeftOut:
        """Turn a row into a question.

        Raises:
            BadRequest: the row is not what the benchmark publishes; the message names it and what is missing.

        """
        asked = self.to_question(row)
        if isinstance(asked, LeftOut):
            return asked
        return Question(
            id=f"{self.name}/{row.place}",
            dataset=self.name,
            category=self.category,
            question=asked.question,
            choices=asked.choices,
            answer=asked.answer,
            answer_type=asked.answer_type,
            split=row.split,
            tests=asked.tests,
            meta=MappingProxyType(dict(asked.meta)),
        )


def tables(stems: Mapping[str, str | tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """Give the patterns of each split: files of its stems as published, then as a copy of the hub has them."""
    patterns = {}
    for split, said in stems.items():
        names = (said,) if isinstance(said, str) else said
        patterns[split] = (
            *(f"**/{name}{ending}" for name in names for ending in (".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz")),
            *(f"**/{name}{ending}" for name in names for ending in ("-*.parquet", ".parquet")),
        )
    return MappingProxyType(patterns)
