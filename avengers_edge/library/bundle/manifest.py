"""The manifest of a bundle (`bundle.json`): its files, what each is for and hashes to, and where each goes.

It is the first member of the archive, and the archive holds nothing that it does not list. `msgspec` reads it into
typed values; a manifest that is not spelled exactly as `write_manifest` spells it is refused.

NAME.tar, NAME.install.py                           beside each other, to be carried

models/, manifests/, teams/, tables/, modes.toml    in a home folder as in the archive
bundles/NAME.json                                   the manifest
bundles/NAME/                                       its checksums and signature, the SBOM, licences
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.library.bundle.archive import (
    CHECKSUMS,
    FORMAT,
    KIND,
    SIGNATURE,
    Envelope,
    Member,
    printable,
    require_format,
)
from avengers_edge.library.names import is_id, is_plain

SUFFIX, INSTALLER_SUFFIX = ".tar", ".install.py"
_MAX_FILES = 10_000
_NOT_IN_HOME = frozenset({"installer", "wheel"})
_OF_THE_BUNDLE = frozenset({"sbom", "licence"})

Size = Annotated[int, msgspec.Meta(ge=0, le=2**60)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


def _named(folder: str, suffix: str, is_good: Callable[[str], bool]) -> Callable[[list[str]], bool]:
    def fits(parts: list[str]) -> bool:
        *before, name = parts
        return before == [folder] and name.endswith(suffix) and is_good(name.removesuffix(suffix))

    return fits


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


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the packer's receipt of a model file says; the words are those of `receipts.Receipt`."""

    source: Text
    verified_at: Text
    expected_from: Text
    chat_template_sha256: Sha256 | None

    def __post_init__(self) -> None:
        _require_printable("a receipt", (self.source, self.verified_at, self.expected_from))


class BundleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of a bundle: `path` is relative, with slashes; model files have a receipt."""

    path: str
    bytes: Size
    sha256: Sha256
    role: str
    receipt: Receipt | None = None

    def __post_init__(self) -> None:
        parts, fits = self.path.split("/"), _ROLES.get(self.role)
        _require(fits is not None, f"{self.path!r} has the unknown role {self.role!r}")
        _require(all(is_plain(part, 255) for part in parts), f"{self.path!r} is not a plain path below the bundle")
        _require(fits is not None and fits(parts), f"{self.path!r} is not where a {self.role} lies")
        has_one, needs_one = self.receipt is not None, self.role == "model"
        _require(has_one == needs_one, f"{self.path} lacks a receipt, or has a needless one")

    @property
    def model(self) -> str:
        """The id of the model that a model file belongs to."""
        return self.path.split("/")[1]


class BundleManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was packed, with its fields in the order of the JSON object.

    `created` is a moment in ISO 8601, `product` a version. `platforms` and `python` (as in 3.11) are those that the
    wheels are for, `extras` those of the product that they serve; they are empty where there are no wheels.
    """

    format: int = FORMAT
    kind: str = KIND
    name: str
    created: Text
    product: Text
    platforms: tuple[Text, ...] = ()
    python: Text = ""
    extras: tuple[Text, ...] = ()
    team: str
    files: Annotated[tuple[BundleFile, ...], msgspec.Meta(max_length=_MAX_FILES)]

    def __post_init__(self) -> None:
        check_name(self.name)
        _require(is_id(self.team), f"{self.team!r} is not a valid name of a team")
        _require_printable("the manifest", (self.created, self.product, self.python, *self.platforms, *self.extras))
        # Some systems take names for the same that differ in case or in how an accent is spelled.
        seen: set[str] = set()
        for file in self.files:
            folded = unicodedata.normalize("NFC", file.path).casefold()
            _require(folded not in seen, f"{file.path} stands in it twice")
            seen.add(folded)
        for path in seen:
            above = next((folder for folder in _folders(path) if folder in seen), None)
            _require(above is None, f"{above} stands in it as a file and as the folder of {path}")
        _require(self.files == in_order(self.files), "its files are not in order")

    @property
    def total_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(file.bytes for file in self.files)

    def models(self) -> dict[str, list[BundleFile]]:
        """Map each model's id to its files, the first part first."""
        files: dict[str, list[BundleFile]] = {}
        for file in self.files:
            if file.role == "model":
                files.setdefault(file.model, []).append(file)
        return files


Bundle: TypeAlias = Envelope[BundleManifest]
"""A bundle's manifest with its bytes and signature."""


def check_name(name: str) -> str:
    """Return a name that can be a bundle's.

    Raises:
        BadRequest: it has other characters than those of ids, or would be taken for another bundle's manifest.

    """
    _require(is_id(name), f"{name!r} is not a valid name of a bundle: use a-z, 0-9 and . _ -")
    _require(not name.endswith(".json"), f"{name!r} is not a valid name of a bundle: leave out the .json at its end")
    return name


def in_order(files: Iterable[BundleFile]) -> tuple[BundleFile, ...]:
    """Sort files as they must stand in an archive: the small ones that explain it first, the models last."""
    return tuple(sorted(files, key=lambda file: (ROLES.index(file.role), file.path)))


def write_manifest(manifest: BundleManifest) -> bytes:
    """Return the JSON of a manifest; the same one is always spelled alike."""
    return (json.dumps(msgspec.to_builtins(manifest), indent=1) + "\n").encode("ascii")


def read_manifest(data: bytes) -> BundleManifest:
    """Read a manifest strictly: an unknown field, a wrong type or another spelling is refused.

    Raises:
        VerificationFailed: it is damaged, contradicts itself, or is of another format; the message names the field.

    """
    try:
        head = msgspec.json.decode(data, type=_Head)
        require_format(head.kind, head.format)
        manifest = msgspec.json.decode(data, type=BundleManifest)
    except (BadRequest, msgspec.ValidationError) as error:
        raise VerificationFailed(f"its manifest cannot be trusted: {printable(str(error))}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationFailed("its manifest is damaged: it is not valid JSON; copy the bundle again") from error
    if write_manifest(manifest) != data:  # a field that stands there twice, among others
        raise VerificationFailed("its manifest is not spelled as `bundle pack` spells it: copy the bundle again")
    return manifest


def installer_beside(archive: Path) -> Path:
    """Return where the installer of an archive lies, unless one of the two was moved."""
    return archive.with_name(archive.name.removesuffix(SUFFIX) + INSTALLER_SUFFIX)


def home_path(name: str, file: Member) -> str | None:
    """Return where a file of the bundle `name` lies below the home folder; None for one that is not kept there."""
    if file.role in _NOT_IN_HOME:
        return None
    return f"bundles/{name}/{file.path}" if file.role in _OF_THE_BUNDLE else file.path


def manifest_path(name: str) -> str:
    """Return where the manifest of the bundle `name` lies below the home folder."""
    return f"bundles/{name}.json"


def envelope_paths(bundle: Bundle) -> list[tuple[str, bytes]]:
    """List signature, checksums and, last, the manifest: their paths below the home folder, and their content."""
    name = bundle.manifest.name
    signature = [] if bundle.signature is None else [(f"bundles/{name}/{SIGNATURE}", bundle.signature)]
    return [*signature, (f"bundles/{name}/{CHECKSUMS}", bundle.checksums), (manifest_path(name), bundle.payload)]


class _Head(msgspec.Struct):
    kind: object = None
    format: object = None


def _folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _require_printable(what: str, texts: Iterable[str]) -> None:
    for text in texts:
        _require(text.isprintable(), f"{what} has a text that cannot be shown: {text!r}")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadRequest(complaint)
