"""A wheel made again from what it was installed as, through the list of its files (RECORD).

No network and no build tool is needed, and the bytes are those that run here: a file that was changed since is refused.
Only packages of plain Python are made so; what was compiled for one place is pip's business.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

from avengers_edge.errors import BadRequest, VerificationFailed

# What the installer added; it will be added again, as will the commands of entry_points.txt.
_ADDED = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
_DATE = (1980, 1, 1, 0, 0, 0)


def rebuild_wheel(distribution: Distribution, folder: Path) -> Path:
    """Write the wheel of an installed distribution into a folder; the same installation gives the same bytes.

    Raises:
        BadRequest: it was not installed from a wheel, or not of plain Python.
        VerificationFailed: an installed file is not the one that was installed.

    """
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


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name
