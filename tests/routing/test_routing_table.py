"""The centroid table's file: what was written comes back, and nothing else is believed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import numpy as tensors

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

HEADER = TableHeader(
    format=FORMAT,
    members=("small", "large:think"),
    embedder="f" * 64,
    clusters=3,
    method="kmeans",
    seed=42,
    smoothing=5.0,
    datasets={"sums": 4, "naïve": 2},
    macro=(0.25, 0.5),
    best_single="large:think",
    similarity_floor=0.1,
    kinds=("number", "text"),
    fitted_at="2026-01-01T00:00:00Z",
    provenance="by hand",
)


def table(header: TableHeader = HEADER, **changes: Any) -> CentroidTable:
    parts = {
        "centroids": np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32),
        "accuracy": np.array([[0, 1], [0.5, 0.5], [1, 0.25]], dtype=np.float32),
        "counts": np.array([[2, 2], [1, 1], [3, 3]], dtype=np.int32),
        "kinds": np.array([[2, 0], [0, 1], [1, 2]], dtype=np.int32),
        "seconds": np.array([[1, 2], [1, 3], [2, 4]], dtype=np.float32),
    }
    return CentroidTable(header, **(parts | changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables" / "team.safetensors"


def load(path: Path) -> CentroidTable:
    return CentroidTable.load(path, fingerprint=HEADER.embedder)


def rewrite(path: Path, *, header: Any = None, metadata: Any = None, drop: Any = (), **changes: Any) -> None:
    """Write a file that safetensors accepts, with parts of the good one changed."""
    parts = {name: tensor for name, tensor in (table().tensors() | changes).items() if name not in drop}
    values = json.loads(json.dumps(dataclasses.asdict(HEADER))) | (header or {})
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tensors.save(parts, metadata=metadata or {"avengers-edge": json.dumps(values)}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seconds": None},
        {"tokens": np.ones((3, 2), dtype=np.float32)},
        {"samples": np.array([1, 8, 2], dtype=np.int32)},
    ],
)
def test_what_was_saved_is_loaded(path: Path, changes: Any) -> None:
    saved = table(**changes)
    saved.save(path)
    loaded = load(path)
    assert loaded.header == HEADER
    assert loaded.tensors().keys() == saved.tensors().keys()
    for name, tensor in saved.tensors().items():
        np.testing.assert_array_equal(loaded.tensors()[name], tensor, strict=True)


def test_the_same_table_gives_the_same_bytes_and_leaves_nothing_beside_them(path: Path) -> None:
    table().save(path)
    first = path.read_bytes()
    table().save(path)
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_tensors_that_are_views_are_saved_as_they_read(path: Path) -> None:
    centroids = np.asfortranarray(table().centroids)
    table(centroids=centroids).save(path)
    np.testing.assert_array_equal(load(path).centroids, centroids)


def test_a_place_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AvengersError, match="cannot be written"):
        table().save(tmp_path / "file" / "team.safetensors")


def test_a_missing_table_says_which_command_makes_one(path: Path) -> None:
    with pytest.raises(NotFound, match="avengers ask --model NAME"):
        load(path)


def test_another_embedders_table_is_refused_with_both_names_and_the_cure(path: Path) -> None:
    table().save(path)
    with pytest.raises(VerificationFailed, match=r"f{12}.*0{12}.*avengers ask --model NAME"):
        CentroidTable.load(path, fingerprint="0" * 64)


def test_a_table_of_another_dimension_is_refused_with_both_numbers(path: Path) -> None:
    table().save(path)
    assert CentroidTable.load(path, fingerprint=HEADER.embedder, dimension=2).centroids.shape == (3, 2)
    with pytest.raises(VerificationFailed, match="of 2 dimensions, this embedder has 384"):
        CentroidTable.load(path, fingerprint=HEADER.embedder, dimension=384)


def test_every_truncation_is_refused(path: Path) -> None:
    table().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(VerificationFailed):
            load(path)


def test_a_longer_file_is_refused(path: Path) -> None:
    table().save(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(VerificationFailed):
        load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "random").write_bytes(content)
    with pytest.raises(VerificationFailed):
        load(tmp_path / "random")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    table().save(tmp_path / "table")
    content = bytearray((tmp_path / "table").read_bytes())
    content[place % len(content)] = value
    (tmp_path / "table").write_bytes(content)
    try:
        loaded = load(tmp_path / "table")
    except VerificationFailed:
        return
    assert loaded.accuracy.shape == (3, 2)


def test_a_file_beyond_the_size_limit_is_refused_unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table().save(path)
    monkeypatch.setattr("avengers_edge.routing.table.MOST_BYTES", 100)
    with pytest.raises(VerificationFailed, match="larger than 100 bytes"):
        load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"centroids": np.eye(3, 2, dtype=np.float32)},
        {"centroids": np.full((3, 2), np.nan, dtype=np.float32)},
        {"centroids": np.full((3, 2), 1e38, dtype=np.float32)},
        {"centroids": np.ones(3, dtype=np.float32)},
        {"centroids": np.eye(4, dtype=np.float32)},
        {"centroids": np.array([[1, 0]] * 3, dtype=np.float64)},
        {"accuracy": np.full((3, 2), 1.5, dtype=np.float32)},
        {"accuracy": np.full((3, 2), -0.5, dtype=np.float32)},
        {"accuracy": np.full((3, 2), np.inf, dtype=np.float32)},
        {"accuracy": np.ones((3, 3), dtype=np.float32)},
        {"accuracy": np.ones((3, 2), dtype=np.int32)},
        {"counts": np.ones((3, 2), dtype=np.float32)},
        {"counts": np.full((3, 2), -1, dtype=np.int32)},
        {"counts": np.ones((3, 2), dtype=np.int64)},
        {"kinds": np.ones((3, 3), dtype=np.int32)},
        {"seconds": np.full((3, 2), np.nan, dtype=np.float32)},
        {"samples": np.array([1, 0, 2], dtype=np.int32)},
        {"samples": np.ones((3, 2), dtype=np.int32)},
        {"tokens": np.ones((2, 2), dtype=np.float32)},
    ],
)
def test_tensors_of_a_wrong_type_shape_or_range_are_refused(path: Path, changes: Any) -> None:
    with pytest.raises(VerificationFailed):
        table(**changes)
    rewrite(path, **changes)
    with pytest.raises(VerificationFailed, match=r"team\.safetensors: .*: fit it again with `avengers calibrate fit`"):
        load(path)


@pytest.mark.parametrize("name", ["centroids", "accuracy", "counts", "kinds"])
def test_a_missing_tensor_is_refused(path: Path, name: str) -> None:
    rewrite(path, drop=[name])
    with pytest.raises(VerificationFailed, match="holds the tensors"):
        load(path)


def test_a_surplus_tensor_is_refused(path: Path) -> None:
    rewrite(path, weights=np.ones(1, dtype=np.float32))
    with pytest.raises(VerificationFailed, match="weights"):
        load(path)


@pytest.mark.parametrize(
    "header",
    [
        {"format": 3},
        {"format": True},
        {"format": "1"},
        {"members": []},
        {"members": "ab"},
        {"members": ["small", "small"]},
        {"members": ["small", ""]},
        {"members": ["small", 3]},
        {"members": ["small", "large:think", "third"]},
        {"embedder": None},
        {"clusters": 2},
        {"clusters": 0},
        {"clusters": 10**30},
        {"smoothing": -1.0},
        {"datasets": {}},
        {"datasets": {"sums": 0}},
        {"datasets": {"sums": 1.5}},
        {"datasets": ["sums"]},
        {"macro": [0.25]},
        {"macro": [0.25, 1.5]},
        {"macro": [0.25, "0.5"]},
        {"best_single": "small"},
        {"best_single": "nobody"},
        {"similarity_floor": 2.0},
        {"similarity_floor": None},
        {"kinds": ["number", "poem"]},
        {"kinds": ["number", "number"]},
        {"fitted_at": 2026},
        {"surplus": 1},
    ],
)
def test_a_wrong_header_is_refused(path: Path, header: Any) -> None:
    rewrite(path, header=header)
    with pytest.raises(VerificationFailed, match=r"team\.safetensors: .*: fit it again with `avengers calibrate fit`"):
        load(path)


def test_another_format_is_named_whatever_else_it_says(path: Path) -> None:
    first = {name: value for name, value in dataclasses.asdict(HEADER).items() if name not in ("top_k", "beta")}
    rewrite(path, metadata={"avengers-edge": json.dumps(first | {"format": 1})})
    with pytest.raises(
        VerificationFailed, match=r"format is 1, and this version of avengers-edge reads 2: fit it again"
    ):
        load(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"other": "{}"},
        {"avengers-edge": "no JSON"},
        {"avengers-edge": "[]"},
        {"avengers-edge": "{}"},
        {"avengers-edge": "[" * 100_000},
        {"avengers-edge": '{"format": NaN}'},
        {"avengers-edge": "9" * 5000},
    ],
)
def test_metadata_without_a_header_are_refused(path: Path, metadata: Any) -> None:
    rewrite(path, metadata=metadata)
    with pytest.raises(VerificationFailed):
        load(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused_in_the_header(path: Path, number: str) -> None:
    text = json.dumps(dataclasses.asdict(HEADER)).replace('"smoothing": 5.0', f'"smoothing": {number}')
    rewrite(path, metadata={"avengers-edge": text})
    with pytest.raises(VerificationFailed, match="damaged"):
        load(path)
