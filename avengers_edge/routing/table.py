"""The centroid table: where clusters of questions lie and how well each member answered there.

One safetensors file, never pickle: the tensors of `CentroidTable`, and its `TableHeader` as JSON in the metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec
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
_REMEDY = "fit it again with `avengers calibrate fit`, or put an undamaged one in its place"
_OTHER_EMBEDDER = "ask one member with `avengers ask --model NAME`, or fit it again with `avengers calibrate fit`"

Matrix = NDArray[np.float32]
Counts = NDArray[np.int32]


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise VerificationFailed(f"centroid table: {complaint}")


@dataclass(frozen=True, slots=True)
class TableHeader:
    """What the numbers of a table mean and where they come from.

    Attributes:
        members: names in column order.
        embedder: fingerprint of the embedder whose vectors were clustered.
        clusters: the number of clusters K.
        method: clustering method; `seed` is the one it started from.
        smoothing: pseudo-counts: so many answers at the rate of its prior are added to each cell.
        datasets: how many questions of which data set the table was fitted on.
        macro: each member's accuracy, averaged over data sets, in column order.
        best_single: the member with the best of these; the first one where several are equal.
        similarity_floor: out-of-distribution threshold, a cosine to the nearest centroid.
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
        found = {each.name: getattr(self, each.name) for each in _TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def save(self, path: Path) -> None:
        """Write the table whole: the same table gives the same bytes.

        Raises:
            AvengersError: the file cannot be written.

        """
        confidence = {form: astuple(fitted) for form, fitted in self.header.confidence.items()}
        header = json.dumps(asdict(self.header) | {"confidence": confidence}, sort_keys=True, ensure_ascii=False)
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
            raise VerificationFailed(f"{path}: {error}: {_REMEDY}") from error
        found = table.header.embedder, table.centroids.shape[1]
        if found[0] != fingerprint:
            raise VerificationFailed(
                f"{path} was fitted with embedder {found[0][:12]}, this one is {fingerprint[:12]}: {_OTHER_EMBEDDER}"
            )
        if dimension not in (None, found[1]):
            raise VerificationFailed(
                f"{path} has centroids of {found[1]} dimensions, this embedder has {dimension}: {_OTHER_EMBEDDER}"
            )
        return table


_TENSORS = fields(CentroidTable)[1:]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise NotFound(
            f"centroid table {path} cannot be read ({error.strerror}): restore it, or ask one member with "
            "`avengers ask --model NAME`"
        ) from error
    _require(len(content) <= MOST_BYTES, f"it is larger than {MOST_BYTES:,} bytes")
    return content


def _parse(content: bytes) -> CentroidTable:
    try:
        loaded = tensors.load(content)
        # The library checked the length and the JSON, but its reader from memory does not return the metadata.
        length = int.from_bytes(content[:8], "little")
        values = msgspec.json.decode(json.loads(content[8 : 8 + length])["__metadata__"][_METADATA_KEY])
    except (SafetensorError, msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise VerificationFailed(f"not a centroid table, or damaged ({type(error).__name__})") from error
    always = {each.name for each in _TENSORS if each.default is MISSING}
    known = {each.name for each in _TENSORS}
    _require(always <= set(loaded) <= known, f"it holds the tensors {', '.join(sorted(loaded))}")
    return CentroidTable(_header_from(values), **loaded)


def _header_from(values: Any) -> TableHeader:  # noqa: ANN401 - it is what JSON holds
    known = {each.name for each in fields(TableHeader)}
    _require(isinstance(values, dict), "its header is no object")
    found = str(values.get("format"))[:20]
    _require(found == str(FORMAT), f"its format is {found}, and this version of avengers-edge reads {FORMAT}")
    _require(known - {"confidence"} <= set(values) <= known, f"its header has not the keys {', '.join(sorted(known))}")
    try:
        slopes = msgspec.convert(values.get("confidence", {}), dict[VoteForm, tuple[float, float, float]])
        confidence = {form: Calibration(*each) for form, each in slopes.items()}
        return replace(msgspec.convert(values | {"confidence": {}}, TableHeader), confidence=confidence)
    except msgspec.ValidationError as error:
        raise VerificationFailed(f"centroid table: its header: {error}") from error
