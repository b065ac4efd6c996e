"""Laws of reading published files, of refusing them in one line, of the hub, and of `calibrate convert`."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.benchmarks import BENCHMARKS, convert_hub, convert_path, convert_rows, find_benchmark
from avengers_edge.calibration.benchmarks.published import objects_of
from avengers_edge.calibration.questions import read_questions
from avengers_edge.cli.calibrate_command import convert
from avengers_edge.cli.session import Session
from avengers_edge.errors import BadRequest, MissingExtra, NotFound, OfflineRefused
from avengers_edge.library.download import SourceUnavailable
from avengers_edge.library.hub import hub_rows

ROW = {"problem": "Add 3 to 30.", "answer": 33}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def answers(path: Path, split: str | None = None) -> list[str | None]:
    return [question.answer for question in convert_path("aime", path, split)]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"did you mean arc_challenge\? known are aime, math500, .*, bbeh"):
        find_benchmark("ARC-challenge")


def test_every_benchmark_is_described() -> None:
    paper = [
        "aime",
        "math500",
        "livemathbench",
        "mbpp",
        "humaneval",
        "korbench",
        "kandk",
        "bbh",
        "arc_challenge",
        "mmlupro",
        "gpqa",
        "finqa",
        "medqa",
    ]
    others = [
        "emorynlp",
        "meld",
        "mathbench",
        "studenteval",
        "winogrande",
        "brainteaser",
        "dailydialog",
        "medmcqa",
        "supergpqa",
        "bbeh",
    ]
    assert list(BENCHMARKS) == [*paper, *others]
    for benchmark in BENCHMARKS.values():
        assert benchmark.category in ("math", "code", "logic", "knowledge", "affective")
        assert benchmark.licence
        assert benchmark.published
        assert "test" in benchmark.files
        assert {table.split for table in benchmark.hub} <= benchmark.files.keys()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", json.dumps(ROW) + "\n\n"),
        ("t.json", json.dumps([ROW])),
        ("t.json", json.dumps(ROW)),
        ("t.json", f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n"),
        ("t.csv", '\ufeffproblem,answer\n"Add 3\nto 30.",33\n'),
        ("t.tsv", "problem\tanswer\nAdd 3 to 30.\t33\n"),
    ],
)
def test_tables_of_text_are_read_by_their_ending(tmp_path: Path, name: str, text: str) -> None:
    plain = answers(write(tmp_path / name, text))
    assert set(plain) == {"33"}
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert answers(packed) == plain


def test_rows_keep_their_number_whatever_is_left_out() -> None:
    rows = [ROW, ROW | {"answer": "x"}, ROW]
    assert [question.id for question in convert_rows("aime", rows, "train")] == ["aime/train/0", "aime/train/2"]


def test_the_files_of_a_split_are_found_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "data" / "aime_2099.jsonl", json.dumps(ROW))
    write(tmp_path / "data" / "aime_2098.jsonl", json.dumps(ROW | {"answer": 1}))
    write(tmp_path / "data" / "train.csv", "problem,answer\nAdd 3.,3\n")
    assert answers(tmp_path) == ["1", "33"]
    assert [question.id for question in convert_path("aime", tmp_path)] == ["aime/test/0", "aime/test/1"]
    assert answers(tmp_path, "train") == ["3"]
    (named,) = convert_path("aime", tmp_path / "data" / "train.csv")
    assert named.split == "train"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("t.jsonl", "{}\n", "t.jsonl, line 1: has no answer or Answer"),
        ("t.jsonl", '{"answer": [1]}\n', "t.jsonl, line 1: answer or Answer is [1], neither text nor a number"),
        ("t.jsonl", f"{json.dumps(ROW)}\n[1]\n", "t.jsonl, line 2: is a list, not an object with fields"),
        ("t.jsonl", f"{json.dumps(ROW)}\n{{\n", "t.jsonl, line 2: not JSON: "),
        ("t.json", "{", "t.json is not JSON: "),
        ("t.json", "3", "t.json: holds no list of rows"),
        ("t.json", "[" * 100_000, "t.json is not JSON: "),
        ("t.csv", "problem,answer\na,1,2\n", "t.csv, line 2: has more columns than the first line names"),
        ("t.csv", 'problem,answer\n"' + "x" * 200_000, "t.csv, line "),
        ("t.csv", "problem,answer\na\n", "t.csv, line 2: has no answer or Answer"),
        ("t.xml", "<a/>", "rows are read from .jsonl, .json, .csv, .tsv, .parquet, .npy (.gz too), not from .xml"),
        ("t.npy", "no array", "t.npy cannot be read: it is not a NumPy array"),
        ("t.jsonl", "version https://git-lfs.github.com/spec/v1\n", "t.jsonl only points into Git LFS"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    with pytest.raises(BadRequest) as caught:
        answers(write(tmp_path / name, text))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRequest, match="cannot be read"):
        answers(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(BadRequest, match="cannot be read"):
        answers(tmp_path / "t.jsonl.gz")


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="HuggingFaceH4/aime_2024"):
        answers(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="holds no test file of AIME"):
        answers(tmp_path)
    with pytest.raises(BadRequest, match="has no split 'dev': use test, train"):
        answers(tmp_path, "dev")
    path = write(tmp_path / "cipher" / "sample.jsonl", json.dumps({"question": "?", "answer": "[[x]]", "rule_id": "1"}))
    with pytest.raises(NotFound, match=r"there is no file .*rule\.jsonl"):
        list(convert_path("korbench", path))


def test_files_that_belong_together_have_to_fit(tmp_path: Path) -> None:
    write(tmp_path / "cipher" / "rule.jsonl", json.dumps({"idx": "2", "rule_content": "Own."}))
    sample = {"question": "?", "answer": "[[x]]", "rule_id": "1", "idx": "1"}
    path = write(tmp_path / "cipher" / "sample.jsonl", json.dumps(sample))
    with pytest.raises(BadRequest, match=r"sample\.jsonl, line 1: follows rule '1', which .*rule\.jsonl does not have"):
        list(convert_path("korbench", path))
    text = write(tmp_path / "dialogues_test.txt", "Hi . __eou__\nBye . __eou__\n")
    for emotions in ("0\n", "0\n0\n0\n", "0\n9\n", "0 0\n0\n"):
        write(tmp_path / "dialogues_emotion_test.txt", emotions)
        with pytest.raises(BadRequest, match="dialogues_"):
            list(convert_path("dailydialog", text))


def test_parquet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra, match="pyarrow"):
        answers(tmp_path / "t.parquet")


def test_parquet_is_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist([ROW] * 3), tmp_path / "test-00000-of-00001.parquet")
    assert answers(tmp_path) == ["33"] * 3
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadRequest, match="cannot be read"):
        answers(tmp_path / "t.parquet")


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


def array_file(path: Path, content: bytes) -> Path:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content)
    return path


def test_an_array_file_never_runs_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = array_file(tmp_path / "t.npy", pickle.dumps([_Harm()], protocol=2))
    with pytest.raises(BadRequest, match=r"it asks for \w+\.mkdir"):
        answers(path)
    assert not (tmp_path / "harmed").exists()


def test_arrays_of_numbers_hold_no_questions(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "t.npy", np.arange(3))
    with pytest.raises(BadRequest, match="an array of numbers or of text"):
        answers(tmp_path / "t.npy")


@given(st.binary(max_size=60))
def test_damaged_arrays_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = array_file(tmp_path_factory.getbasetemp() / "damaged.npy", content)
    with pytest.raises(BadRequest, match="its objects are damaged|it does not hold a list|it asks for"):
        objects_of(path)


class FakeDatasets(ModuleType):
    """Stands for the package: each table has one row, which names it."""

    def __init__(self) -> None:
        super().__init__("datasets")
        self.asked: list[tuple[str, str | None, str, bool]] = []
        self.failure: Exception | None = None

    def disable_progress_bars(self) -> None:
        pass

    def load_dataset(self, repository: str, config: str | None, *, split: str, streaming: bool) -> list[dict[str, Any]]:
        self.asked.append((repository, config, split, streaming))
        if self.failure:
            raise self.failure
        return [{"problem": f"{repository}?", "answer": 1, "input": "(A) x\n(B) y", "target": "(A)"}]


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> FakeDatasets:
    fake = FakeDatasets()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def test_the_hub_is_refused_off_line_and_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OfflineRefused, match="HuggingFaceH4/aime_2024 needs the network"):
        convert_hub("aime", offline=True)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"\[hub\]"):
        convert_hub("aime", offline=False)


def test_all_tables_of_a_split_are_read_and_told_apart(datasets: FakeDatasets) -> None:
    ids = [question.id for question in convert_hub("aime", offline=False)]
    assert ids == ["aime/test/aime_2024/0", "aime/test/aime25/0"]
    assert datasets.asked == [("HuggingFaceH4/aime_2024", None, "train", True), ("math-ai/aime25", None, "test", True)]
    tasks = [question.meta["task"] for question in convert_hub("bbh", offline=False)]
    assert "snarks" in tasks
    assert "web_of_lies" not in tasks  # there a letter is no answer, so the row is left out
    assert len({config for _, config, _, _ in datasets.asked[2:]}) == 27


def test_a_benchmark_without_a_table_there_says_where_it_is(datasets: FakeDatasets) -> None:
    with pytest.raises(BadRequest, match=r"finqa has no table on the hub: download its files \(czyssrs/FinQA"):
        convert_hub("finqa", offline=False)
    with pytest.raises(BadRequest, match="has no split 'dev' on the hub: use test"):
        convert_hub("aime", "dev", offline=False)


def test_what_the_hub_complains_of_is_one_line(datasets: FakeDatasets) -> None:
    datasets.failure = ConnectionError("no route\nto the host")
    with pytest.raises(SourceUnavailable, match=r"^the hub did not give a/b \(c\), split test: no route; check"):
        list(hub_rows("a/b", "c", "test", offline=False))
    datasets.failure = type("DatasetIsGatedError", (Exception,), {})("a/b is gated")
    with pytest.raises(SourceUnavailable, match="accept its licence there and set HF_TOKEN"):
        list(hub_rows("a/b", None, "test", offline=False))


def run(*words: str, offline: bool = False) -> Result:
    return CliRunner().invoke(convert, list(words), obj=Session(offline=offline))


def test_the_command_writes_a_question_file_and_tells_what_was_left_out(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"answer": "x"}, ROW]
    source = write(tmp_path / "aime.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    out = tmp_path / "out" / "aime.jsonl.gz"
    done = run("aime", "--from", str(source), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"2 questions of aime written to {out}\n"
    assert done.stderr == "1 rows were left out: an answer like 'x' is no whole number from 0 to 999\n"
    assert list(read_questions(out)) == list(convert_path("aime", source))


def test_the_command_stops_at_its_limit_and_speaks_json(tmp_path: Path) -> None:
    source = write(tmp_path / "aime.jsonl", f"{json.dumps(ROW)}\n" * 5)
    out = tmp_path / "aime.jsonl"
    done = run("aime", "--from", str(source), "--out", str(out), "--limit", "2", "--json")
    assert json.loads(done.stdout) == {"benchmark": "aime", "out": str(out), "written": 2, "left_out": {}}
    assert len(list(read_questions(out))) == 2


def test_the_command_reads_the_hub(tmp_path: Path, datasets: FakeDatasets) -> None:
    out = tmp_path / "aime.jsonl"
    assert run("aime", "--from", "hub", "--out", str(out)).exit_code == 0
    assert [question.question for question in read_questions(out)] == ["HuggingFaceH4/aime_2024?", "math-ai/aime25?"]
    assert isinstance(run("aime", "--from", "hub", "--out", str(out), offline=True).exception, OfflineRefused)


def test_the_command_writes_nothing_where_nothing_came(tmp_path: Path) -> None:
    source = write(tmp_path / "aime.jsonl", json.dumps(ROW | {"answer": "x"}))
    out = tmp_path / "out.jsonl"
    failed = run("aime", "--from", str(source), "--out", str(out))
    assert isinstance(failed.exception, BadRequest)
    assert "no question of aime came out of" in str(failed.exception)
    assert "1 rows: an answer like 'x'" in str(failed.exception)
    assert not out.exists()


def test_a_bad_row_leaves_the_earlier_file_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "aime.jsonl", f"{json.dumps(ROW)}\n{{}}\n")
    out = write(tmp_path / "out.jsonl", "as it was")
    failed = run("aime", "--from", str(source), "--out", str(out))
    assert isinstance(failed.exception, BadRequest)
    assert "line 2: has no answer" in str(failed.exception)
    assert out.read_text(encoding="utf-8") == "as it was"
