"""The centroid table: where clusters of questions lie and how well each member answered there.

One safetensors file, never pickle: the tensors of `CentroidTable`, and its `TableHeader` as JSON in the metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as tensors

from avengers_edge._util.files import write_named
from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.records import KINDS, Calibration, VoteForm

FORMAT = 2
MOST_BYTES = 64 * 1024 * 1024
_METADATA_KEY = "avengers-edge"  # one key only: safetensors does not write several in a fixed order
_UNIT_TOLERANCE = 1e-3
_CURE = "fit it again with `avengers calibrate fit`, or put an undamaged one in its place"
_ALWAYS, _MEASURED = ("centroids", "accuracy", "counts", "kinds"), ("prior", "seconds", "tokens", "samples")

Matrix = NDArray[np.float32]
Counts = NDArray[np.int32]


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise VerificationFailed(f"centroid table: {complaint}")


def _require_format(found: object) -> None:
    _require(found == FORMAT, f"its format is {str(found)[:20]}, and this version of avengers-edge reads {FORMAT}")


@dataclass(frozen=True, slots=True)
class TableHeader:
    """What the numbers of a table mean and where they come from.

    Attributes:
        members: names in column order.
        embedder: fingerprint of the embedder whose vectors were clustered.
        clusters: the number of clusters K.
        method: clustering method; `seed` is the one it started from.
        smoothing: pseudo-counts, how many answers at the rate of its prior are added to each cell.
        datasets: how many questions of which data set the table was fitted on.
        macro: each member's accuracy, averaged over data sets, in column order.
        best_single: the member with the best of these; the first one where several are equal.
        similarity_floor: cosine to the nearest centroid below which a question is foreign to the table.
        kinds: answer kinds in the column order of the tensor `kinds`.
        fitted_at: when, in ISO 8601.
        provenance: where the outcomes came from, for a reader.
        top_k: how many of the nearest clusters are averaged; a table with fewer uses all.
        beta: how fast a cluster's weight falls with distance; 0 weighs all alike.
        confidence: how sure a vote's winner is, by the form of the vote, where that was calibrated.

    """

    format: int
    members: tuple[str, ...]
    embedder: str
    clusters: int
    method: str
    seed: int
    smoothing: float
    datasets: Mapping[str, int]
    macro: tuple[float, ...]
    best_single: str
    similarity_floor: float
    kinds: tuple[str, ...]
    fitted_at: str
    provenance: str
    top_k: int = 3
    beta: float = 6.0
    confidence: Mapping[VoteForm, Calibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_format(self.format)
        _require(bool(self.members) and all(self.members), "it names no members")
        _require(len(set(self.members)) == len(self.members), "it names a member twice")
        _require(len(self.macro) == len(self.members), "it has not one overall accuracy a member")
        _require(all(0 <= accuracy <= 1 for accuracy in self.macro), "an overall accuracy is outside 0 to 1")
        best = self.members[max(range(len(self.macro)), key=self.macro.__getitem__)]
        _require(self.best_single == best, f"best_single is {self.best_single!r}, by its own figures it is {best!r}")
        _require(self.clusters >= 1, f"it has {self.clusters} clusters")
        _require(0 <= self.smoothing < math.inf, f"smoothing is {self.smoothing}")
        _require(self.top_k >= 1, f"top_k is {self.top_k}")
        _require(0 <= self.beta < math.inf, f"beta is {self.beta}")
        _require(-1 <= self.similarity_floor <= 1, f"similarity_floor is {self.similarity_floor}")
        _require(bool(self.datasets), "it names no data sets")
        _require(all(count >= 1 for count in self.datasets.values()), "a data set has no questions")
        _require(set(self.kinds) <= set(KINDS) and len(set(self.kinds)) == len(self.kinds), "its kinds are unknown")


@dataclass(frozen=True, slots=True, eq=False)
class CentroidTable:
    """K clusters by M members.

    Attributes:
        header: what the columns and numbers mean.
        centroids: (K, D) rows of length 1.
        accuracy: (K, M) mean score, 0 to 1, not smoothed.
        counts: (K, M) answers behind each accuracy.
        kinds: (K, len(header.kinds)) calibration questions by answer kind.
        seconds: (K, M) mean seconds an answer takes, or None where they were not measured.
        tokens: (K, M) mean generated tokens of an answer, or None.
        prior: (K, M) what each cell is drawn to; None draws it to the member's overall accuracy.
        samples: (K,) how many samples a vote is worth there, or None where no votes were measured.

    Raises:
        VerificationFailed: a tensor has the wrong type, shape or range.

    """

    header: TableHeader
    centroids: Matrix
    accuracy: Matrix
    counts: Counts
    kinds: Counts
    prior: Matrix | None = None
    seconds: Matrix | None = None
    tokens: Matrix | None = None
    samples: Counts | None = None

    def __post_init__(self) -> None:
        clusters, members = self.header.clusters, len(self.header.members)
        _require(self.centroids.ndim == 2, f"centroids have shape {self.centroids.shape}, not (K, D)")
        shapes: dict[str, tuple[int, ...]] = {
            "centroids": (clusters, self.centroids.shape[1]),
            "kinds": (clusters, len(self.header.kinds)),
            "samples": (clusters,),
        }
        for name, tensor in self.tensors().items():
            shape = shapes.get(name, (clusters, members))
            dtype = np.int32 if name in ("counts", "kinds", "samples") else np.float32
            _require(tensor.dtype == dtype, f"{name} is {tensor.dtype}, not {dtype.__name__}")
            _require(tensor.shape == shape, f"{name} has shape {tensor.shape}, not {shape}")
            _require(bool(np.isfinite(tensor).all()), f"{name} has a number that is not finite")
            _require(name == "centroids" or bool((tensor >= 0).all()), f"{name} has a negative number")
        with np.errstate(all="ignore"):  # a length that overflows is refused like any other that is not 1
            lengths = np.linalg.norm(self.centroids, axis=1)
        _require(bool((np.abs(lengths - 1) <= _UNIT_TOLERANCE).all()), "a centroid is not of length 1")
        _require(bool((self.accuracy <= 1).all()), "an accuracy is above 1")
        _require(self.prior is None or bool((self.prior <= 1).all()), "a prior accuracy is above 1")
        _require(self.samples is None or bool((self.samples >= 1).all()), "a cluster's vote has no samples")

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Name the tensors that this table has."""
        found = {name: getattr(self, name) for name in (*_ALWAYS, *_MEASURED)}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def save(self, path: Path) -> None:
        """Write the table whole: the same table gives the same bytes.

        Raises:
            AvengersError: the file cannot be written.

        """
        values = {each.name: getattr(self.header, each.name) for each in fields(TableHeader)}
        values |= {
            "datasets": dict(self.header.datasets),
            "confidence": {form: astuple(fitted) for form, fitted in self.header.confidence.items()},
        }
        header = json.dumps(values, sort_keys=True, ensure_ascii=False)
        plain = {name: np.ascontiguousarray(tensor) for name, tensor in self.tensors().items()}
        try:
            write_named(path, tensors.save(plain, metadata={_METADATA_KEY: header}))
        except OSError as error:
            raise AvengersError(f"{path} cannot be written ({error.strerror}): choose another place") from error

    @classmethod
    def load(cls, path: Path, *, fingerprint: str, dimension: int | None = None) -> CentroidTable:
        """Read a table that was fitted with the embedder of that fingerprint, for vectors of that dimension.

        Raises:
            NotFound: there is no such file.
            VerificationFailed: it is not a table, is damaged, or was fitted with another embedder.

        """
        try:
            table = _parse(_read(path))
        except VerificationFailed as error:
            raise VerificationFailed(f"{path}: {error}: {_CURE}") from error
        if table.header.embedder != fingerprint:
            raise VerificationFailed(
                f"{path} was fitted with embedder {table.header.embedder[:12]}, this one is {fingerprint[:12]}: "
                "ask one member with `avengers ask --model NAME`, or fit the table again with `avengers calibrate fit`"
            )
        if dimension is not None and table.centroids.shape[1] != dimension:
            raise VerificationFailed(
                f"{path} has centroids of {table.centroids.shape[1]} dimensions, this embedder has {dimension}: "
                "ask one member with `avengers ask --model NAME`, or fit the table again with `avengers calibrate fit`"
            )
        return table


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotFound(
            f"centroid table {path} cannot be read ({error.strerror}): mend it, or ask one member with "
            "`avengers ask --model NAME`"
        ) from error
    _require(len(content) <= MOST_BYTES, f"it is larger than {MOST_BYTES:,} bytes")
    return content


def _parse(content: bytes) -> CentroidTable:
    try:
        loaded = tensors.load(content)
        # The library checked the length and the JSON, but its reader from memory does not hand the metadata out.
        length = int.from_bytes(content[:8], "little")
        values = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_METADATA_KEY])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationFailed(f"not a centroid table, or damaged ({type(error).__name__})") from error
    _require(set(_ALWAYS) <= set(loaded) <= {*_ALWAYS, *_MEASURED}, f"it holds the tensors {', '.join(sorted(loaded))}")
    return CentroidTable(_header_from(values), **loaded)


def _header_from(values: object) -> TableHeader:
    known = {each.name for each in fields(TableHeader)}
    if not isinstance(values, dict):
        raise VerificationFailed("centroid table: its header is no object")
    _require_format(values.get("format"))
    _require(known - {"confidence"} <= set(values) <= known, f"its header has not the keys {', '.join(sorted(known))}")
    values = {"confidence": {}, **values}
    for name, wanted in _JSON_TYPES.items():
        _require(wanted(values[name]), f"its header has {name} {str(values[name])[:60]!r}")
    sequences = {name: tuple(values[name]) for name in ("members", "macro", "kinds")}
    confidence = {form: Calibration(*slopes) for form, slopes in values["confidence"].items()}
    return TableHeader(**{**values, **sequences, "confidence": confidence})


def _is_confidence(value: object) -> bool:
    return isinstance(value, dict) and all(
        form in get_args(VoteForm) and isinstance(slopes, list) and len(slopes) == 3 and all(map(_is_number, slopes))
        for form, slopes in value.items()
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


_JSON_TYPES = {
    "format": _is_count,
    "members": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "embedder": _is_text,
    "clusters": _is_count,
    "method": _is_text,
    "seed": _is_count,
    "smoothing": _is_number,
    "datasets": lambda value: isinstance(value, dict) and all(map(_is_count, value.values())),
    "macro": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "best_single": _is_text,
    "similarity_floor": _is_number,
    "kinds": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "fitted_at": _is_text,
    "provenance": _is_text,
    "top_k": _is_count,
    "beta": _is_number,
    "confidence": _is_confidence,
}
