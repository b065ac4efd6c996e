"""The manifest of a bundle: which files it holds, what each is for and hashes to, and what was packed when.

It is `bundle.json`, the first entry of the archive. The files follow in its order, and the archive holds nothing else
but the manifest's own checksum and signature; so the manifest alone decides what every byte of the archive must be.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.library.names import is_id, is_plain

FORMAT = 1
MANIFEST, SIGNATURE, SUMS = "bundle.json", "bundle.json.sig", "bundle.json.sha256"
MAX_MANIFEST_BYTES = 8 * 2**20
_KIND = "avengers-edge bundle"
_MAX_FILES, _MAX_BYTES, _MAX_TEXT = 10_000, 2**60, 1000
_HEX = re.compile(r"[0-9a-f]{64}")


def _named(folder: str, suffix: str, good: Callable[[str], bool]) -> Callable[[list[str]], bool]:
    def check(parts: list[str]) -> bool:
        *before, name = parts
        return before == [folder] and name.endswith(suffix) and good(name[: -len(suffix)] if suffix else name)

    return check


def _is_model(parts: list[str]) -> bool:
    return len(parts) == 3 and parts[0] == "models" and is_id(parts[1]) and parts[2].lower().endswith(".gguf")


_ROLES: dict[str, Callable[[list[str]], bool]] = {
    "installer": lambda parts: parts == ["install.py"],
    "sbom": lambda parts: parts == ["sbom.cdx.json"],
    "licence": lambda parts: parts[0] == "licences" and 2 <= len(parts) <= 16,
    "wheel": _named("wheels", ".whl", bool),
    "manifest": _named("manifests", ".toml", is_id),
    "modes": lambda parts: parts == ["modes.toml"],
    "table": _named("tables", "", bool),
    "team": _named("teams", ".toml", is_id),
    "model": _is_model,
}
"""What a file can be for, in the order of the archive, and where it must lie to be that."""

ROLES = tuple(_ROLES)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the packer's receipt of a model file says; the words are those of `receipts.Receipt`."""

    source: str
    verified_at: str
    expected_from: str
    chat_template_sha256: str | None

    def __post_init__(self) -> None:
        for text in (self.source, self.verified_at, self.expected_from):
            _check_text("a receipt", text)


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file in a bundle: `path` is relative, with slashes; `origin` is told of model files only."""

    path: str
    bytes: int
    sha256: str
    role: str
    origin: Origin | None = None

    def __post_init__(self) -> None:
        parts = self.path.split("/")
        fits = _ROLES.get(self.role)
        _require(fits is not None, f"{self.path!r} has the unknown role {self.role!r}")
        _require(all(is_plain(part, 255) for part in parts), f"{self.path!r} is not a plain path below the bundle")
        _require(fits is not None and fits(parts), f"{self.path!r} is not where a {self.role} lies")
        _require(0 <= self.bytes <= _MAX_BYTES, f"{self.path} has {self.bytes} bytes")
        _require(_HEX.fullmatch(self.sha256) is not None, f"the sha256 of {self.path} is not 64 hex digits")
        _require(
            (self.origin is not None) == (self.role == "model"), f"{self.path} lacks a receipt, or has a needless one"
        )

    @property
    def model(self) -> str:
        """The id of the model that a model file belongs to."""
        return self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """What was packed.

    `created` is a moment in ISO 8601, `product` a version. `platforms` and `python` (as in 3.11) are those that the
    wheels are for, `extras` those of the product that they serve; they are empty where there are no wheels.
    """

    name: str
    created: str
    product: str
    team: str
    files: tuple[BundleFile, ...]
    platforms: tuple[str, ...] = ()
    python: str = ""
    extras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        _require(is_id(self.team), f"{self.team!r} is not a valid name of a team")
        for text in (self.created, self.product, self.python, *self.platforms, *self.extras):
            _check_text("the manifest", text)
        _require(len(self.files) <= _MAX_FILES, f"it has {len(self.files)} files, which are more than {_MAX_FILES}")
        # Some systems take names for the same that differ in case or in how an accent is spelled.
        seen: set[str] = set()
        for file in self.files:
            folded = unicodedata.normalize("NFC", file.path).casefold()
            _require(folded not in seen, f"{file.path} stands in it twice")
            seen.add(folded)
        for path in seen:
            above = next((folder for folder in _folders(path) if folder in seen), None)
            _require(above is None, f"{above} stands in it as a file and as the folder of {path}")
        order = [(ROLES.index(file.role), file.path) for file in self.files]
        _require(order == sorted(order), "its files are not in order")

    @property
    def bytes(self) -> int:
        """The sizes of all files together."""
        return sum(file.bytes for file in self.files)


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def check_name(name: str) -> str:
    """Return a name that can be a bundle's.

    Raises:
        BadRequest: it has other characters than those of ids, or would be taken for another bundle's manifest.

    """
    _require(is_id(name), f"{name!r} is not a valid name of a bundle: use a-z, 0-9 and . _ -")
    _require(not name.endswith(".json"), f"{name!r} is not a valid name of a bundle: leave out the .json at its end")
    return name


def in_order(files: list[BundleFile]) -> tuple[BundleFile, ...]:
    """Sort files as they must stand in an archive: the small ones that explain it first, the models last."""
    return tuple(sorted(files, key=lambda file: (ROLES.index(file.role), file.path)))


def write_manifest_json(manifest: BundleManifest) -> bytes:
    """Spell a manifest; the same one is always spelled alike."""
    files: list[dict[str, object]] = []
    for file in manifest.files:
        row: dict[str, object] = {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "role": file.role}
        if file.origin is not None:
            row["receipt"] = {name: getattr(file.origin, name) for name in Origin.__slots__}
        files.append(row)
    value = {
        "format": FORMAT,
        "kind": _KIND,
        "name": manifest.name,
        "created": manifest.created,
        "product": manifest.product,
        "platforms": manifest.platforms,
        "python": manifest.python,
        "extras": manifest.extras,
        "team": manifest.team,
        "files": files,
    }
    return (json.dumps(value, indent=1) + "\n").encode("ascii")


def read_manifest_json(data: bytes) -> BundleManifest:
    """Read a manifest strictly: whatever it has that is not known here is refused.

    Raises:
        VerificationFailed: it is damaged, contradicts itself, or is of another format.

    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates)
        if not isinstance(value, dict) or value.get("kind") != _KIND:
            raise BadRequest("it is not the manifest of a bundle")
        _check_format(value.get("format"))
        rows = _take(value, "files", list)
        manifest = BundleManifest(
            name=_take(value, "name", str),
            created=_take(value, "created", str),
            product=_take(value, "product", str),
            team=_take(value, "team", str),
            files=tuple(_file(row) for row in rows),
            platforms=_texts(value, "platforms"),
            python=_take(value, "python", str),
            extras=_texts(value, "extras"),
        )
        _done({key: left for key, left in value.items() if key not in ("kind", "format")})
    except BadRequest as error:
        raise VerificationFailed(f"its manifest cannot be trusted: {error}") from error
    except (ValueError, RecursionError) as error:
        raise VerificationFailed("its manifest is damaged: it is not valid JSON; copy the bundle again") from error
    return manifest


def _check_format(told: object) -> None:
    if not isinstance(told, int) or isinstance(told, bool):
        raise BadRequest("it names no format")
    if told > FORMAT:
        raise VerificationFailed(
            f"it is of format {told} and this version reads format {FORMAT}: install the product that packed it, which "
            "is in its wheels"
        )
    if told < FORMAT:
        raise VerificationFailed(f"it is of the old format {told}, this version reads format {FORMAT}: pack it again")


def _file(row: object) -> BundleFile:
    if not isinstance(row, dict):
        raise BadRequest("one of its files is no object")
    told = row.pop("receipt", None)
    origin = None
    if told is not None:
        if not isinstance(told, dict):
            raise BadRequest("a receipt is no object")
        template = told.pop("chat_template_sha256", None)
        if template is not None and not (isinstance(template, str) and _HEX.fullmatch(template)):
            raise BadRequest("the chat template's sha256 is not 64 hex digits")
        source, verified_at, expected_from = (_take(told, key, str) for key in Origin.__slots__[:3])
        origin = Origin(source, verified_at, expected_from, template)
        _done(told)
    file = BundleFile(
        _take(row, "path", str), _take(row, "bytes", int), _take(row, "sha256", str), _take(row, "role", str), origin
    )
    _done(row)
    return file


def _take(values: dict[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 - JSON
    value = values.pop(key, None)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadRequest(f"{key} is missing or of the wrong type")
    return value


def _texts(values: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = _take(values, key, list)
    if not all(isinstance(text, str) for text in texts):
        raise BadRequest(f"{key} is not a list of texts")
    return tuple(texts)


def _done(values: dict[str, Any]) -> None:
    if values:
        raise BadRequest(f"it has the unknown key {next(iter(values))!r}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise BadRequest("a key stands in it twice")
    return values


def _check_text(what: str, text: str) -> None:
    _require(text.isprintable() and len(text) <= _MAX_TEXT, f"{what} has a text that cannot be shown")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadRequest(complaint)
