"""Writes docs/settings.md from the settings' own type.

python scripts/settings_reference.py            write it
python scripts/settings_reference.py --check    only report whether it is up to date (exit code 1 if not)
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from avengers_edge.config import HOME_VARIABLE, OFFLINE_VARIABLE, Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = f"""# Settings

<!-- written by scripts/settings_reference.py, do not edit -->

`settings.toml` in the home folder holds what all commands go by; it is optional, and so is each key. An option of a
command wins over the environment, the environment over the file. The home folder is the platform's data folder, or what
`--home DIR` or `{HOME_VARIABLE}` names; `{OFFLINE_VARIABLE}=1` is `offline = true`. An unknown key, a value of the
wrong type or out of bounds is refused with its name.

```toml
team = "starter"
context = 16384
keep_alive = -1
```
"""
OTHERS = """## Not in the file

In Python, `Settings` has these, too; on the command line they are options.
"""


def reference() -> str:
    """Write the whole page: a table of what the file may hold, and one of what only arguments can set."""
    settings = [field for field in dataclasses.fields(Settings) if field.metadata]
    inside = _table(field for field in settings if field.metadata["in_file"])
    outside = [field for field in settings if not field.metadata["in_file"]]
    parts = [HEAD, inside, *([OTHERS, _table(outside)] if outside else [])]
    return "\n".join(parts)


TYPES = {"bool": "true or false", "int": "whole number", "str": "text", "tuple[str, ...]": "list of names"}


def _table(settings: Iterable[dataclasses.Field[Any]]) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for field in settings:
        bounds = field.metadata["bounds"]
        kind = TYPES[str(field.type).removesuffix(" | None")] + (f" ({bounds[0]} to {bounds[1]})" if bounds else "")
        default = "not set" if field.default is None else f"`{json.dumps(field.default)}`"  # as TOML writes it
        rows.append(f"| `{field.name}` | {kind} | {default} | {_cell(field.metadata['help'])} |")
    return "\n".join([*rows, ""])


def _cell(text: str) -> str:
    escaped = text.replace("|", "\\|")
    return escaped if "`" in text else escaped.replace("_", "\\_")


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    wanted = reference()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        print("up to date" if current else f"{PAGE.name} is out of date: run scripts/settings_reference.py")
        return int(not current)
    PAGE.write_text(wanted, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
