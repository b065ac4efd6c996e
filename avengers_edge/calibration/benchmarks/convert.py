"""Published rows in, questions out: from a file, from a folder, or from rows that somebody else has read."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from types import MappingProxyType

from avengers_edge.calibration.benchmarks import bigbench, coding, dialogues, exams, mathematics, puzzles, reports
from avengers_edge.calibration.benchmarks.benchmark import Benchmark, HubTable, LeftOut, Row
from avengers_edge.calibration.benchmarks.reading import read_table
from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.library.hub import hub_rows

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            mathematics.AIME,
            mathematics.MATH500,
            mathematics.LIVEMATHBENCH,
            coding.MBPP,
            coding.HUMANEVAL,
            puzzles.KORBENCH,
            puzzles.KANDK,
            bigbench.BBH,
            exams.ARC_CHALLENGE,
            exams.MMLUPRO,
            exams.GPQA,
            reports.FINQA,
            exams.MEDQA,
            dialogues.EMORYNLP,
            dialogues.MELD,
            mathematics.MATHBENCH,
            coding.STUDENTEVAL,
            puzzles.WINOGRANDE,
            puzzles.BRAINTEASER,
            dialogues.DAILYDIALOG,
            exams.MEDMCQA,
            exams.SUPERGPQA,
            bigbench.BBEH,
        )
    }
)
"""The fifteen benchmarks of the Avengers paper, the five it keeps for questions out of distribution, and three more."""

OnLeftOut = Callable[[str], None]
"""Hears why a sound row became no question."""


def find_benchmark(name: str) -> Benchmark:
    """Look a benchmark up by its name.

    Raises:
        NotFound: there is no such converter; the message lists those there are.

    """
    if benchmark := BENCHMARKS.get(name):
        return benchmark
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), BENCHMARKS, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise NotFound(f"there is no benchmark {name!r}: {hint}known are {', '.join(BENCHMARKS)}")


def convert_rows(
    name: str,
    rows: Iterable[Mapping[str, object]],
    split: str = "test",
    *,
    part: str | None = None,
    on_left_out: OnLeftOut | None = None,
) -> Iterator[Question]:
    """Turn rows as published into questions.

    Args:
        name: of the benchmark.
        rows: in the order of publication, because a dialogue's rows depend on those before.
        split: what the rows are of; part of the questions' identifiers.
        part: the task that the rows belong to, where the benchmark has several; part of the identifiers too.
        on_left_out: hears of sound rows that become no question.

    Raises:
        NotFound: no such benchmark.
        BadRequest: a row is not what the benchmark publishes; the message names it and what is missing.

    """
    benchmark = find_benchmark(name)
    located = ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))
    return _converted(benchmark, _placed(located, split, part, None), on_left_out)


def convert_path(
    name: str, path: Path, split: str | None = None, *, on_left_out: OnLeftOut | None = None
) -> Iterator[Question]:
    """Turn published files into questions.

    Args:
        name: of the benchmark.
        path: a file, or a folder in which the split's files are looked for.
        split: None takes what the file's name says, or else the first, "test".
        on_left_out: hears of sound rows that become no question.

    Raises:
        NotFound: no such benchmark or path, or no file of the split in the folder.
        BadRequest: no such split, a file that cannot be read, or a row that is not what the benchmark publishes.
        MissingExtra: a parquet file without pyarrow.

    """
    benchmark = find_benchmark(name)
    split, files = _published_files(benchmark, path, split)
    return _converted(benchmark, _rows_of(benchmark, files, split), on_left_out)


def convert_hub(
    name: str, split: str = "test", *, offline: bool, on_left_out: OnLeftOut | None = None
) -> Iterator[Question]:
    """Turn the rows of a benchmark's tables on the Hugging Face hub into questions.

    Args:
        name: of the benchmark.
        split: ours; see `Benchmark.hub`.
        offline: whether the user forbade the network.
        on_left_out: hears of sound rows that become no question.

    Raises:
        NotFound: no such benchmark.
        BadRequest: no such split there, or no copy on the hub that is read without running anybody's code.
        OfflineRefused: the network is forbidden.
        MissingExtra: the package `datasets` is not installed.
        SourceUnavailable: the hub cannot be reached, or does not give a table.

    """
    benchmark = find_benchmark(name)
    read = [
        (table, hub_rows(table.repository, table.config, table.published, offline=offline))
        for table in _hub_tables(benchmark, split)
    ]
    return itertools.chain.from_iterable(
        convert_rows(name, rows, split, part=table.part, on_left_out=on_left_out) for table, rows in read
    )


def _hub_tables(benchmark: Benchmark, split: str) -> tuple[HubTable, ...]:
    name = benchmark.name
    if not benchmark.hub:
        raise BadRequest(
            f"{name} has no table on the hub: download its files ({benchmark.published}) and name their folder"
        )
    if tables := tuple(table for table in benchmark.hub if table.split == split):
        return tables
    raise BadRequest(f"{name} has no split {split!r} on the hub: use {_listed(table.split for table in benchmark.hub)}")


def _converted(benchmark: Benchmark, rows: Iterable[Row], on_left_out: OnLeftOut | None) -> Iterator[Question]:
    for row in benchmark.unfold(rows):
        question = benchmark.convert(row)
        if not isinstance(question, LeftOut):
            yield question
        elif on_left_out is not None:
            on_left_out(question.reason)


def _rows_of(benchmark: Benchmark, files: Iterable[Path], split: str) -> Iterator[Row]:
    count = 0
    for file in files:
        part = benchmark.part(file) if benchmark.part else None
        located = benchmark.read(file) if benchmark.read else read_table(file, benchmark.under)
        for row in _placed(located, split, part, file, 0 if part else count):
            count += 1
            yield row


def _placed(
    located: Iterable[tuple[str, Mapping[str, object]]], split: str, part: str | None, file: Path | None, first: int = 0
) -> Iterator[Row]:
    """Give rows their places, numbered from `first` on; a part is the task of those that name none."""
    before = f"{split}/{part}" if part else split
    for number, (where, values) in enumerate(located, first):
        row = Row(values, where, f"{before}/{number}", split, file)
        yield row.with_values({"task": part}) if part and not row.has("task") else row


def _published_files(benchmark: Benchmark, path: Path, split: str | None) -> tuple[str, list[Path]]:
    if split is not None and split not in benchmark.files:
        raise BadRequest(f"{benchmark.name} has no split {split!r}: use {_listed(benchmark.files)}")
    if path.is_dir():
        split = split or next(iter(benchmark.files))
        for pattern in benchmark.files[split]:
            if found := sorted(file for file in path.glob(pattern) if file.is_file()):
                return split, found
        raise NotFound(f"{path} holds no {split} file of {benchmark.title}: it is {benchmark.published}")
    if not path.exists():
        raise NotFound(f"there is no {path}: {benchmark.title} is {benchmark.published}")
    return split or _split_of(benchmark, path), [path]


def _split_of(benchmark: Benchmark, file: Path) -> str:
    """Read the split off a file's name: the patterns of all splits are tried in turn, special ones before general."""
    longest = max(map(len, benchmark.files.values()))
    for rank in range(longest):
        for split, patterns in benchmark.files.items():
            if rank < len(patterns) and fnmatch.fnmatch(file.name, PurePath(patterns[rank]).name):
                return split
    return next(iter(benchmark.files))


def _listed(splits: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(splits))
