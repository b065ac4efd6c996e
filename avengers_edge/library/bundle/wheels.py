"""The wheels of a bundle: the product's own, those of its requirements at the installed versions, and pip's.

pip resolves and downloads them, so a site's own index and settings hold; it is constrained to the installed versions.
"""

from __future__ import annotations

import base64
import contextlib
import email.parser
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import avengers_edge
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.names import is_plain
from avengers_edge.library.pip import read_complaint, run_pip

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


PRODUCT = "avengers-edge"
USER_EXTRAS = ("chat", "serve", "calibrate")
"""The extras that a site expects, and could not install later."""

_QUIET = ("--quiet", "--disable-pip-version-check")
_PYTHON = re.compile(r"3\.\d{1,3}")
_TAG = re.compile(r"[A-Za-z0-9_]+")
_MANYLINUX = re.compile(r"manylinux_2_(\d+)_(\w+)")
_MISSING = re.compile(r"No matching distribution found for (\S+)")
_OLD_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True)
class WheelOptions:
    """Which wheels are wanted.

    `platforms` are wheel tags as in `manylinux_2_28_x86_64` and `python` is a version as in 3.12; left empty, they are
    this machine's. pip looks into `folder` before it looks anywhere else and, when `offline`, nowhere else.
    """

    extras: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    python: str = ""
    folder: Path | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if self.python and not _PYTHON.fullmatch(self.python):
            raise BadRequest(f"--python-version is {self.python!r}: write it like 3.12")
        for tag in self.platforms:
            if not _TAG.fullmatch(tag):
                raise BadRequest(f"--platform is {tag!r}: use a wheel's tag, like manylinux_2_28_x86_64")
        if self.folder is not None and not self.folder.is_dir():
            raise NotFound(f"there is no folder {self.folder}: name one with wheels in it, or leave out --wheels")

    @property
    def is_cross(self) -> bool:
        """Whether the wheels are for another platform or Python than those that pack."""
        return bool(self.platforms or self.python)


def platforms_of(options: WheelOptions) -> tuple[str, ...]:
    """Name the platforms that the wheels will be for."""
    return options.platforms or (re.sub(r"\W", "_", sysconfig.get_platform()),)


def python_of(options: WheelOptions) -> str:
    """Name the version of Python that the wheels will be for."""
    return options.python or f"{sys.version_info[0]}.{sys.version_info[1]}"


def gather_wheels(
    options: WheelOptions, folder: Path, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Path, ...]:
    """Gather all wheels in a folder of their own below `folder`, which exists, and list them.

    `on_progress` gets how many bytes lie there so far.

    Raises:
        OfflineRefused: a wheel is not in `options.folder`, and only the network could bring it.
        BadRequest: the product has no such extra.
        DoesNotFit: the disk has no room.
        AvengersError: pip found no wheel of something for that platform.

    """
    found = folder / "found"
    found.mkdir()
    own = _own_wheel(options, folder)
    unknown = [extra for extra in options.extras if extra not in read_wheel(own).extras]
    if unknown:
        raise BadRequest(f"there is no extra {unknown[0]!r}: use {', '.join(sorted(read_wheel(own).extras))}")
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{pin}\n" for pin in _pins(options).values()), encoding="utf-8")
    extras = f"[{','.join(options.extras)}]" if options.extras else ""
    words = ["download", "--dest", str(found), *_target(options)] if options.is_cross else ["wheel", "-w", str(found)]
    words += [*_QUIET, *_places(options), "-c", str(constraints), f"{PRODUCT}{extras} @ {own.as_uri()}"]
    log = run_pip(words, folder, on_progress, _environ(options))
    if log is not None:
        raise _failure(log, options, folder)
    shutil.copyfile(own, found / own.name)
    if not list(found.glob("pip-*.whl")):
        # A fresh environment may lack pip. The installer has another way, should this one be of a kind that cannot.
        with contextlib.suppress(AvengersError, OSError, importlib.metadata.PackageNotFoundError):
            rebuild_wheel(importlib.metadata.distribution("pip"), found)
    return tuple(sorted(found.glob("*.whl")))


def _own_wheel(options: WheelOptions, folder: Path) -> Path:
    """Find, rebuild or build the product's own wheel."""
    version, made = avengers_edge.__version__, folder / "own"
    made.mkdir()
    given = sorted(options.folder.glob(f"avengers_edge-{version}-*.whl")) if options.folder else []
    if given:
        return given[0].absolute()
    source = Path(avengers_edge.__file__).parent.parent
    distribution = _installed()
    if distribution is not None and not _is_editable(distribution):
        return rebuild_wheel(distribution, made)
    if not (source / "pyproject.toml").is_file():
        raise BadRequest(f"the product's own wheel cannot be made from {source}: pass it with --wheels DIR")
    words = ["wheel", "--no-deps", "-w", str(made), *_QUIET]
    if importlib.util.find_spec("hatchling") is not None:
        words.append("--no-build-isolation")
    elif options.offline:
        raise OfflineRefused(
            "building the product's own wheel needs hatchling: install it, or pass the wheel with --wheels"
        )
    log = run_pip([*words, str(source)], folder, environ=_environ(options))
    if log is not None:
        raise AvengersError(
            f"the product's own wheel could not be built: {read_complaint(log).reason}; pass it with --wheels"
        )
    (wheel,) = made.glob("*.whl")
    return wheel


def _installed() -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(PRODUCT)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable", False))
    except (ValueError, AttributeError):
        return False


def _pins(options: WheelOptions) -> dict[str, str]:
    """Map each installed distribution but those of `options.folder` to a pin of its version."""
    given = options.folder.glob("*.whl") if options.folder else ()
    unpinned = {PRODUCT, *(canonicalize_name(path.name.split("-")[0]) for path in given)}
    versions: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        if name := each.metadata["Name"]:
            versions.setdefault(canonicalize_name(name), each.version)
    return {name: f"{name}=={version}" for name, version in sorted(versions.items()) if name not in unpinned}


def needed_names(product: str, extras: tuple[str, ...]) -> tuple[str, ...]:
    """List the installed distributions that one needs with some of its extras, and those that they need in turn."""
    todo, seen = [(product, frozenset(extras))], {canonicalize_name(product)}
    found: set[str] = set()
    while todo:
        name, chosen = todo.pop()
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(canonicalize_name(name))
        for line in lines:
            with contextlib.suppress(InvalidRequirement):  # of old metadata; pip will say what it makes of it
                needed = Requirement(line)
                if canonicalize_name(needed.name) not in seen and _applies(needed, chosen):
                    seen.add(canonicalize_name(needed.name))
                    todo.append((needed.name, frozenset(needed.extras)))
    return tuple(sorted(found - {canonicalize_name(product)}))


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement holds on this machine with some extras, or with none."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _target(options: WheelOptions) -> list[str]:
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python_of(options)]
    for tag in options.platforms:
        words += [word for each in _older(tag) for word in ("--platform", each)]
    return words


def _older(tag: str) -> list[str]:
    """List a platform's tag and those of older systems, whose wheels run there too; pip does so for macOS alone."""
    match = _MANYLINUX.fullmatch(tag)
    if match is None:
        return [tag]
    newest, machine = int(match[1]), match[2]
    tags = []
    for minor in range(newest, 4, -1):
        tags.append(f"manylinux_2_{minor}_{machine}")
        if minor in _OLD_MANYLINUX:
            tags.append(f"{_OLD_MANYLINUX[minor]}_{machine}")
    return [*tags, f"linux_{machine}"]


def _places(options: WheelOptions) -> list[str]:
    where = ["--find-links", str(options.folder.absolute())] if options.folder else []
    return [*where, "--no-index"] if options.offline else where


def _environ(options: WheelOptions) -> Mapping[str, str]:
    """Return the environment of pip: off line without its settings, for they too may name places on the network."""
    if not options.offline:
        return os.environ
    return {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": os.devnull
    }


def _failure(log: Path, options: WheelOptions, folder: Path) -> AvengersError:
    complaint = read_complaint(log)
    if complaint.disk_full:
        free = shutil.disk_usage(folder).free // 10**6
        return DoesNotFit(f"the wheels need more disk than the {free} MB that are free in {folder.parent}: free some")
    if complaint.unreachable:
        return AvengersError(
            f"the package index cannot be reached: {complaint.reason}; check the network and `pip config list`, or "
            "pass --offline --wheels DIR"
        )
    missing = ", ".join(_without_wheel(options, folder))
    fewer = f", pack fewer --extras than {','.join(options.extras)}" if options.extras else ""
    place = f"{', '.join(platforms_of(options))} and Python {python_of(options)}"
    if missing and options.offline:
        where = f"in {options.folder}" if options.folder else "here, for there is no --wheels DIR"
        return OfflineRefused(
            f"there is no wheel of {missing} for {place} {where}: put it there{fewer} or leave out --offline"
        )
    if missing:
        return NotFound(
            f"there is no wheel of {missing} for {place}: build it on such a machine with `pip wheel` and pass its "
            f"folder with --wheels{fewer}"
        )
    return AvengersError(
        f"pip could not bring the wheels: {complaint.reason}; pass those of another run with --wheels DIR"
    )


def _without_wheel(options: WheelOptions, folder: Path) -> list[str]:
    """Ask pip again for everything one by one, without choosing versions, until it has complained of all it lacks."""
    pins = _pins(options)
    asked = [pins.get(name, name) for name in needed_names(PRODUCT, options.extras)]
    lacking: list[str] = []
    probe = folder / "probe"
    target = _target(options) if options.is_cross else ["--only-binary=:all:"]
    while asked:
        words = ["download", "--no-deps", "--dest", str(probe), *_QUIET, *target, *_places(options), *asked]
        log = run_pip(words, folder, environ=_environ(options))
        match = _MISSING.search(read_complaint(log).reason) if log is not None else None
        if match is None or match[1] not in asked:
            break
        lacking.append(match[1])
        asked.remove(match[1])
    return lacking
