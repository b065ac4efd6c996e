"""What a wheel says of itself: name, version, licence and the texts of its licences."""

from __future__ import annotations

import email.parser
import re
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath

from avengers_edge.errors import VerificationFailed
from avengers_edge.library.names import is_plain

_MAX_TEXT_BYTES = 2**20
_MAX_TEXTS = 200
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)
_CLASSIFIER = "License :: "


@dataclass(frozen=True, slots=True)
class WheelFacts:
    """A wheel's name and version, the extras it has, its licence in a few words, and whether those are an SPDX one."""

    name: str
    version: str
    extras: tuple[str, ...]
    licence: str
    is_spdx: bool


def read_wheel(path: Path) -> WheelFacts:
    """Read a wheel's metadata.

    Raises:
        VerificationFailed: it is no wheel.

    """
    with _opened(path) as wheel:
        # From bytes, a header that is not ASCII would come as an object of another kind.
        text = wheel.read(f"{_info(wheel, path)}METADATA").decode("utf-8", "replace")
    told = email.parser.Parser().parsestr(text, headersonly=True)
    expression = told.get("License-Expression")
    licence = _one_line(expression or _worded_licence(told))
    name, version = _one_line(told.get("Name", "")), _one_line(told.get("Version", ""))
    return WheelFacts(name, version, tuple(told.get_all("Provides-Extra", ())), licence, expression is not None)


def read_licence_texts(path: Path) -> list[tuple[str, bytes]]:
    """Return the texts of the licences in a wheel, each under a path of plain names.

    Raises:
        VerificationFailed: it is no wheel.

    """
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
            texts.append(("/".join(map(_plain, parts)), wheel.read(member)))
    return texts[:_MAX_TEXTS]


def read_member(path: Path, member: str) -> bytes | None:
    """Return a member of a wheel, or None where it has none of that name."""
    with _opened(path) as wheel:
        return wheel.read(member) if member in wheel.namelist() else None


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


def _worded_licence(told: Message) -> str:
    field = (told.get("License") or "").strip()
    classifiers = [line for line in told.get_all("Classifier", ()) if line.startswith(_CLASSIFIER)]
    if field and "\n" not in field and field.upper() != "UNKNOWN":
        return field
    if classifiers:
        return ", ".join(line.removeprefix(_CLASSIFIER).split(" :: ")[-1] for line in classifiers)
    return field.split("\n")[0] or "unknown"


def _one_line(text: str) -> str:
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:200]


def _plain(part: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9._+-]", "_", part).strip(". -")[:100]
    return kept if is_plain(kept) else f"_{kept}_"
