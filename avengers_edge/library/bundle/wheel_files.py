"""Wheels as files: the name, version and licences that one has, and one made again from what was installed of it.

To make one again needs neither a network nor a build tool, and gives the bytes that run here: RECORD lists them, and a
file that was changed since is refused. Only packages of plain Python are made so; compiled ones are pip's business.
"""

from __future__ import annotations

import base64
import email.parser
import hashlib
import re
import zipfile
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.library.names import is_plain

_MAX_TEXT_BYTES = 2**20
_MAX_TEXTS = 200
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_CLASSIFIER = "License :: "
# What the installer added; it will be added again, as will the commands of entry_points.txt.
_ADDED = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class WheelFacts:
    """A wheel's name and version, the extras it has, and its licence: an SPDX expression or a few words."""

    name: str
    version: str
    extras: tuple[str, ...]
    licence: str


def read_wheel(path: Path) -> WheelFacts:
    """Read a wheel's metadata."""
    with _opened(path) as wheel:
        # From bytes, a header that is not ASCII would come as an object of another kind.
        text = wheel.read(f"{_info(wheel, path)}METADATA").decode("utf-8", "replace")
    metadata = email.parser.Parser().parsestr(text, headersonly=True)
    licence = _one_line(metadata.get("License-Expression") or _worded_licence(metadata))
    name, version = _one_line(metadata.get("Name", "")), _one_line(metadata.get("Version", ""))
    return WheelFacts(name, version, tuple(metadata.get_all("Provides-Extra", ())), licence)


def read_licence_texts(path: Path) -> list[tuple[str, bytes]]:
    """Return the texts of the licences in a wheel, each under a path of plain names."""
    texts = []
    with _opened(path) as wheel:
        info = _info(wheel, path)
        for member in wheel.infolist():
            inside = member.filename.removeprefix(info)
            where = PurePosixPath(inside)
            is_text = where.parts[:1] in (("licenses",), ("license_files",)) or _LICENCE.match(where.name)
            if inside == member.filename or member.is_dir() or not is_text or member.file_size > _MAX_TEXT_BYTES:
                continue
            parts = [part for part in where.parts if part not in ("licenses", "license_files")]
            texts.append(("/".join(map(plain_name, parts)), wheel.read(member)))
    return texts[:_MAX_TEXTS]


def read_member(path: Path, member: str) -> bytes | None:
    """Return a member of a wheel, or None where it has none of that name."""
    with _opened(path) as wheel:
        return wheel.read(member) if member in wheel.namelist() else None


def rebuild_wheel(distribution: Distribution, folder: Path) -> Path:
    """Write the wheel of an installed distribution into a folder; the same installation gives the same bytes."""
    name, version = distribution.metadata["Name"], distribution.version
    tags = [
        line[4:].strip() for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")
    ]
    if not tags or any(not tag.endswith("-none-any") for tag in tags):
        raise BadRequest(f"{name} {version} cannot be made a wheel again: pass its wheel with --wheels DIR")
    pythons = ".".join(sorted({tag.split("-")[0] for tag in tags}))
    path = folder / f"{name.replace('-', '_')}-{version}-{pythons}-none-any.whl"
    rows, info = [], ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in sorted(distribution.files or (), key=str):
            member = file.as_posix()
            if member.endswith(".dist-info/RECORD"):
                info = member.removesuffix("RECORD")
            if member.startswith("..") or file.suffix == ".pyc" or (".dist-info/" in member and file.name in _ADDED):
                continue
            data = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            if file.hash is not None and (file.hash.mode, file.hash.value) != ("sha256", digest):
                raise VerificationFailed(f"{file.locate()} was changed since it was installed: install {name} again")
            wheel.writestr(_member(member), data)
            rows.append(f"{_quoted(member)},sha256={digest},{len(data)}\n")
        if not info:
            raise BadRequest(f"{name} {version} has no list of its files: pass its wheel with --wheels DIR")
        rows.append(f"{info}RECORD,,\n")
        wheel.writestr(_member(f"{info}RECORD"), "".join(rows))
    return path


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise VerificationFailed(f"{path} is no wheel: fetch or build it again") from error


def _info(wheel: zipfile.ZipFile, path: Path) -> str:
    for name in wheel.namelist():
        if name.endswith(".dist-info/METADATA") and name.count("/") == 1:
            return name.removesuffix("METADATA")
    raise VerificationFailed(f"{path} is no wheel, for it has no METADATA: fetch or build it again")


def _worded_licence(metadata: Message) -> str:
    field = (metadata.get("License") or "").strip()
    classifiers = [line for line in metadata.get_all("Classifier", ()) if line.startswith(_CLASSIFIER)]
    if field and "\n" not in field and field.upper() != "UNKNOWN":
        return field
    if classifiers:
        return ", ".join(line.removeprefix(_CLASSIFIER).split(" :: ")[-1] for line in classifiers)
    return field.split("\n")[0] or "unknown"


def _one_line(text: str) -> str:
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:200]


def plain_name(part: str) -> str:
    """Return a name that is a plain one on every system."""
    kept = re.sub(r"[^A-Za-z0-9._+-]", "_", part).strip(". -")[:100]
    return kept if is_plain(kept) else f"_{kept}_"


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name
