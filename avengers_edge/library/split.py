"""A model in several files, as llama.cpp's `gguf-split` names them: NAME-00001-of-00003.gguf and so on.

The first part has the metadata and is the one that is loaded; llama.cpp finds the others beside it by their names.
"""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
MOST_PARTS = 999


def part_names(name: str) -> tuple[str, ...]:
    """Name all parts of the model whose first part is called `name`; only `name` itself where it is no first part."""
    match = _PART.fullmatch(name)
    if match is None or int(match[2]) != 1 or not 1 <= int(match[3]) <= MOST_PARTS:
        return (name,)
    return tuple(f"{match[1]}-{number:05}-of-{match[3]}.gguf" for number in range(1, int(match[3]) + 1))


def part_paths(path: Path) -> tuple[Path, ...]:
    """Give the paths of all parts of a model by that of its first one."""
    return tuple(path.with_name(name) for name in part_names(path.name))


def first_name(name: str) -> str:
    """Name the first of a model's parts by any of them; `name` itself where it is no part."""
    match = _PART.fullmatch(name)
    first = name if match is None else f"{match[1]}-00001-of-{match[3]}.gguf"
    return first if name in part_names(first) else name


def is_later_part(name: str) -> bool:
    """Tell whether this is the name of a part that is not the first."""
    match = _PART.fullmatch(name)
    return match is not None and int(match[2]) > 1


def whole_name(name: str) -> str:
    """Give the name that a file would have if it were not split."""
    match = _PART.fullmatch(name)
    return name if match is None else f"{match[1]}.gguf"
