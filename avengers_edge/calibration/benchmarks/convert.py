"""Published rows in, questions out: from a file, from a folder, or from rows that the caller has read."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType

from avengers_edge._util.toml_files import read_toml
from avengers_edge.calibration.benchmarks import dialogues, exams, puzzles, solutions
from avengers_edge.calibration.benchmarks.published import Located, read_table
from avengers_edge.calibration.benchmarks.rows import Asked, LeftOut, Row
from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.library.hub import hub_rows

_TEXT_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz")
_COPY_ENDINGS = ("-*.parquet", ".parquet")  # as a copy of the hub has them

OnLeftOut = Callable[[str], None]
"""Called with the reason why a sound row became no question."""


@dataclass(frozen=True, slots=True)
class HubTable:
    """One table of a data set on the Hugging Face hub, which can be read without running anybody's code.

    `split` is ours, and `published` the hub's name of it where that is another one. `part` tells the table from the
    split's others; where the rows do not name their task, it is that.
    """

    repository: str
    config: str | None = None
    published: str | None = None
    split: str = "test"
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of the Avengers paper or beside it, as described in benchmarks.toml.

    Attributes:
        title: as its authors write it.
        category: math, code, logic, knowledge or affective.
        licence: what its publishers say; nothing of it is shipped here.
        published: where its files are.
        files: split -> patterns of its files below a folder, or their names without an ending.
        hub: its tables on the hub; empty where there are none.
        under: the name under which a JSON file keeps its list of rows.

    """

    title: str
    category: str
    licence: str
    published: str
    files: Mapping[str, tuple[str, ...]]
    hub: tuple[HubTable, ...] = ()
    under: str | None = None

    def patterns(self, split: str) -> list[str]:
        """Return the patterns of a split's files, those of text before those of copies of the hub."""
        patterns = []
        for whole, run in itertools.groupby(self.files[split], lambda name: "." in name):
            names = list(run)
            patterns += names if whole else _expanded(names, _TEXT_ENDINGS) + _expanded(names, _COPY_ENDINGS)
        return patterns


def _expanded(names: Iterable[str], endings: Iterable[str]) -> list[str]:
    return [f"**/{name}{ending}" for name, ending in itertools.product(names, endings)]


BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    read_toml(Path(__file__).with_name("benchmarks.toml"), dict[str, Benchmark])
)
"""The fifteen benchmarks of the Avengers paper, the five it keeps for questions out of distribution, and three more."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """The functions of a benchmark: a row to a question, and what its files need before.

    `unfold` turns the rows as published into rows that each hold one whole question, `part` names the part of the
    benchmark that a file holds (a task, say), `read` reads a file that is no table.
    """

    to_question: Callable[[Row], Asked | LeftOut]
    unfold: Callable[[Iterable[Row]], Iterable[Row]] = iter
    part: Callable[[Path], str] | None = None
    read: Callable[[Path], Iterator[Located]] | None = None


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


_WAYS: Mapping[str, _Ways] = MappingProxyType(
    {
        "aime": _Ways(solutions.aime),
        "math500": _Ways(solutions.math500),
        "livemathbench": _Ways(solutions.livemathbench, part=_stem),
        "mathbench": _Ways(solutions.mathbench, part=lambda path: f"{path.parent.name}/{_stem(path)}"),
        "finqa": _Ways(solutions.finqa),
        "mbpp": _Ways(solutions.mbpp),
        "humaneval": _Ways(solutions.humaneval),
        "studenteval": _Ways(solutions.studenteval),
        "korbench": _Ways(puzzles.korbench, puzzles.korbench_rows, lambda path: path.parent.name),
        "kandk": _Ways(puzzles.knights, part=lambda path: _stem(path).partition("_num")[0].partition("-0")[0]),
        "bbh": _Ways(puzzles.bbh, part=lambda path: path.parent.name if path.suffix == ".parquet" else path.stem),
        "bbeh": _Ways(
            puzzles.bbeh, part=lambda path: puzzles.bbeh_task(path.parent.name) if path.stem == "task" else "mini"
        ),
        "arc_challenge": _Ways(exams.arc),
        "mmlupro": _Ways(exams.mmlupro),
        "gpqa": _Ways(exams.gpqa),
        "supergpqa": _Ways(exams.supergpqa),
        "medqa": _Ways(exams.medqa),
        "medmcqa": _Ways(exams.medmcqa, exams.medmcqa_rows),
        "winogrande": _Ways(exams.winogrande),
        "brainteaser": _Ways(exams.brainteaser, part=_stem),
        "emorynlp": _Ways(dialogues.emory, dialogues.emory_rows),
        "meld": _Ways(dialogues.meld, dialogues.meld_rows),
        "dailydialog": _Ways(dialogues.daily, dialogues.daily_rows, read=dialogues.read_dialogues),
    }
)


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
        on_left_out: called for each sound row that becomes no question.

    Raises:
        NotFound: no such benchmark.
        BadRequest: a row is not what the benchmark publishes; the message names it and what is missing.

    """
    find_benchmark(name)
    located = ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))
    return _converted(name, _placed(located, split, part, None), on_left_out)


def convert_path(
    name: str, path: Path, split: str | None = None, *, on_left_out: OnLeftOut | None = None
) -> Iterator[Question]:
    """Turn published files into questions.

    Args:
        name: of the benchmark.
        path: a file, or a folder in which the split's files are looked for.
        split: None takes what the file's name says, or else the first, "test".
        on_left_out: called for each sound row that becomes no question.

    Raises:
        NotFound: no such benchmark or path, or no file of the split in the folder.
        BadRequest: no such split, a file that cannot be read, or a row that is not what the benchmark publishes.
        MissingExtra: a parquet file without pyarrow.

    """
    split, files = _published_files(name, find_benchmark(name), path, split)
    return _converted(name, _rows_of(name, files, split), on_left_out)


def convert_hub(
    name: str, split: str = "test", *, offline: bool, on_left_out: OnLeftOut | None = None
) -> Iterator[Question]:
    """Turn the rows of a benchmark's tables on the Hugging Face hub into questions.

    Args:
        name: of the benchmark.
        split: ours; see `HubTable`.
        offline: whether the user forbade the network.
        on_left_out: called for each sound row that becomes no question.

    Raises:
        NotFound: no such benchmark.
        BadRequest: no such split there, or no copy on the hub that is read without running anybody's code.
        OfflineRefused: the network is forbidden.
        MissingExtra: the package `datasets` is not installed.
        SourceUnavailable: the hub cannot be reached, or does not give a table.

    """
    benchmark = find_benchmark(name)
    if not benchmark.hub:
        raise BadRequest(
            f"{name} has no table on the hub: download its files ({benchmark.published}) and name their folder"
        )
    tables = [table for table in benchmark.hub if table.split == split]
    if not tables:
        known = ", ".join(dict.fromkeys(table.split for table in benchmark.hub))
        raise BadRequest(f"{name} has no split {split!r} on the hub: use {known}")
    read = [
        (table, hub_rows(table.repository, table.config, table.published or split, offline=offline)) for table in tables
    ]
    return itertools.chain.from_iterable(
        convert_rows(name, rows, split, part=table.part, on_left_out=on_left_out) for table, rows in read
    )


def _converted(name: str, rows: Iterable[Row], on_left_out: OnLeftOut | None) -> Iterator[Question]:
    category, ways = BENCHMARKS[name].category, _WAYS[name]
    for row in ways.unfold(rows):
        asked = ways.to_question(row)
        if isinstance(asked, Asked):
            yield Question(
                id=f"{name}/{row.place}",
                dataset=name,
                category=category,
                question=asked.question,
                choices=asked.choices,
                answer=asked.answer,
                answer_type=asked.answer_type,
                split=row.split,
                tests=asked.tests,
                meta=MappingProxyType(dict(asked.meta)),
            )
        elif on_left_out is not None:
            on_left_out(asked.reason)


def _rows_of(name: str, files: Iterable[Path], split: str) -> Iterator[Row]:
    ways, count = _WAYS[name], 0
    for file in files:
        part = ways.part(file) if ways.part else None
        located = ways.read(file) if ways.read else read_table(file, BENCHMARKS[name].under)
        for row in _placed(located, split, part, file, 0 if part else count):
            count += 1
            yield row


def _placed(
    located: Iterable[Located], split: str, part: str | None, file: Path | None, first: int = 0
) -> Iterator[Row]:
    """Give rows their places, numbered from `first` on; a part is the task of those that name none."""
    before = f"{split}/{part}" if part else split
    for number, (where, values) in enumerate(located, first):
        row = Row(values, where, f"{before}/{number}", split, file)
        yield row.with_values({"task": part}) if part and not row.has("task") else row


def _published_files(name: str, benchmark: Benchmark, path: Path, split: str | None) -> tuple[str, list[Path]]:
    if split is not None and split not in benchmark.files:
        raise BadRequest(f"{name} has no split {split!r}: use {', '.join(benchmark.files)}")
    if path.is_dir():
        split = split or next(iter(benchmark.files))
        for pattern in benchmark.patterns(split):
            if found := sorted(file for file in path.glob(pattern) if file.is_file()):
                return split, found
        raise NotFound(f"{path} holds no {split} file of {benchmark.title}: it is {benchmark.published}")
    if not path.exists():
        raise NotFound(f"there is no {path}: {benchmark.title} is {benchmark.published}")
    return split or _split_of(benchmark, path), [path]


def _split_of(benchmark: Benchmark, file: Path) -> str:
    """Read the split off a file's name: the patterns of all splits are tried in turn, special ones before general."""
    for rank in itertools.zip_longest(*map(benchmark.patterns, benchmark.files)):
        for split, pattern in zip(benchmark.files, rank, strict=True):
            if pattern and fnmatch.fnmatch(file.name, PurePath(pattern).name):
                return split
    return next(iter(benchmark.files))
