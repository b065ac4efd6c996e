"""Writes docs/settings.md from the settings' own type.

python scripts/settings_reference.py            write it
python scripts/settings_reference.py --check    only report whether it is up to date (exit code 1 if not)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from avengers_edge.config import HOME_VARIABLE, OFFLINE_VARIABLE, SettingDoc, describe_settings

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
    settings = describe_settings()
    inside = _table(setting for setting in settings if setting.in_file)
    outside = [setting for setting in settings if not setting.in_file]
    parts = [HEAD, inside, *([OTHERS, _table(outside)] if outside else [])]
    return "\n".join(parts)


def _table(settings: Iterable[SettingDoc]) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for each in settings:
        bounds = f" ({each.bounds})" if each.bounds else ""
        rows.append(f"| `{each.name}` | {_cell(each.type)}{bounds} | {_default(each.default)} | {_cell(each.help)} |")
    return "\n".join([*rows, ""])


def _default(text: str) -> str:
    return text if text in ("", "not set") else f"`{text}`"


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
