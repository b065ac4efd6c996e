"""GGUF files that other programs have on this machine, by the names that people know them by; nothing is hashed.

Looked at are the stores of Ollama, LM Studio, the Hugging Face cache, llama.cpp, GPT4All and Jan, or folders by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.errors import AvengersError, NotFound
from avengers_edge.library.gguf import MAGIC, quantization_in, read_header
from avengers_edge.library.names import is_later_part, part_paths, whole_name

_MOST_MANIFEST_BYTES = 2**20
_LEAST_BYTES = 2**16
"""What is smaller is a vocabulary or a test, not a model."""

_SAYS_NOTHING = re.compile(r"(?:model|ggml-model|weights|sha256-[0-9a-f]+|[0-9a-f]{32,})", re.IGNORECASE)
_NO_MODEL = re.compile(r"mmproj|imatrix|-partial", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A model file of another program; of several parts the first. `bytes` counts all parts."""

    name: str
    program: str
    path: Path
    bytes: int
    quantization: str | None


def find_models(
    folders: Iterable[Path] = (), *, home: Path | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Found, ...]:
    """List model files in these folders, or without any in the stores of the programs that are known; by name.

    Args:
        folders: where to look; none looks where the programs keep their models.
        home: the user's home folder.
        environ: variables by which the programs' stores can lie elsewhere.

    Raises:
        NotFound: one of the folders does not exist.

    """
    named = tuple(folders)
    for folder in named:
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}")
    places = [("folder", folder) for folder in named] or _stores(home or Path.home(), environ)
    found: dict[Path, Found] = {}
    for program, folder in places:
        files = _ollama(folder) if program == "Ollama" else _walked(program, folder)
        for each in files:
            found.setdefault(each.path.resolve(), each)
    return tuple(sorted(found.values(), key=lambda each: (each.name.lower(), str(each.path))))


def _stores(home: Path, environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """List the folders in which programs keep models, on the three systems."""
    local = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    support = home / "Library" / "Application Support"
    hub = Path(environ.get("HF_HUB_CACHE") or Path(environ.get("HF_HOME") or cache / "huggingface", "hub"))
    ollama = [Path(environ["OLLAMA_MODELS"])] if environ.get("OLLAMA_MODELS") else [home / ".ollama" / "models"]
    places = {
        "Ollama": [*ollama, Path("/usr/share/ollama/.ollama/models")],
        "LM Studio": [home / ".lmstudio" / "models", cache / "lm-studio" / "models"],
        "Hugging Face": [hub],
        "llama.cpp": [
            Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp"),
            home / "Library" / "Caches" / "llama.cpp",
            local / "llama.cpp",
        ],
        "GPT4All": [
            home / ".local" / "share" / "nomic.ai" / "GPT4All",
            support / "nomic.ai" / "GPT4All",
            local / "nomic.ai" / "GPT4All",
        ],
        "Jan": [
            home / ".local" / "share" / "Jan" / "data",
            home / "jan" / "models",
            support / "Jan" / "data",
            Path(environ.get("APPDATA") or local) / "Jan" / "data",
        ],
    }  # fmt: skip
    return [(program, folder) for program, folders in places.items() for folder in folders if folder.is_dir()]


def _ollama(store: Path) -> Iterator[Found]:
    """Read Ollama's manifests, which name the blobs; a blob whose download goes on has another name yet."""
    for manifest in sorted((store / "manifests").glob("*/*/*/*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if not manifest.is_file() or manifest.stat().st_size > _MOST_MANIFEST_BYTES:
                continue
            layers = json.loads(manifest.read_bytes())["layers"]
            digest = next(each["digest"] for each in layers if each["mediaType"].endswith(".image.model"))
            path = store / "blobs" / str(digest).replace(":", "-")
            namespace, name = manifest.parts[-3:-1]
            shown = f"{name}:{manifest.name}" if namespace == "library" else f"{namespace}/{name}:{manifest.name}"
            if found := _file("Ollama", path, shown):
                yield found


def _walked(program: str, folder: Path) -> Iterator[Found]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(".gguf") and not is_later_part(name) and not _NO_MODEL.search(name):
                path = Path(place, name)
                if found := _file(program, path, re.sub(r"\.gguf$", "", whole_name(name), flags=re.IGNORECASE)):
                    yield found


def _file(program: str, path: Path, name: str) -> Found | None:
    """Describe a file; None where it is no whole model."""
    try:
        parts = part_paths(path)
        size = sum(part.stat().st_size for part in parts)
        with path.open("rb") as file:
            if size < _LEAST_BYTES or file.read(len(MAGIC)) != MAGIC:
                return None
    except OSError:  # a part that is missing, a link to nothing
        return None
    quantization = quantization_in(path.name)
    if _SAYS_NOTHING.fullmatch(name):
        with contextlib.suppress(AvengersError):
            header = read_header(path)
            name, quantization = header.name or name, quantization or header.quantization
    return Found(name, program, path, size, quantization)


def model_id(found: Found) -> str:
    """Return the id under which a found file is installed."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", found.name.lower()).strip("._-")
    return plain or "model"
