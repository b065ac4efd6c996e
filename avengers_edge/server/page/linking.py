"""Joins the page's files into one document: the style sheet and the modules go inside, so nothing else is loaded.

The modules are ordinary ones that a browser or Node could load by themselves. Each becomes a function that gives what
it exports, after those that it imports. They keep to two forms, `import { a, b } from "./name.js";` and `export` before
a function, class or constant; anything else is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_STYLE = '<link rel="stylesheet" href="page.css">'
_SCRIPT = '<script type="module" src="main.js"></script>'


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A document, and what stands in its one style and its one script element: a policy names them by their hashes."""

    html: str
    style: str
    script: str


def join(files: Mapping[str, str]) -> Document:
    """Join `index.html`, `page.css` and the modules, by their file names.

    Raises:
        ValueError: a file that cannot be joined.

    """
    style, script, html = files["page.css"], link(files), files["index.html"]
    for tag, content in ((_STYLE, f"<style>{style}</style>"), (_SCRIPT, f'<script type="module">{script}</script>')):
        if html.count(tag) != 1:
            raise ValueError(f"index.html has {tag} {html.count(tag)} times: once is needed")
        html = html.replace(tag, content)
    return Document(html, style, script)


def link(files: Mapping[str, str], main: str = "main") -> str:
    """Make one module of `main` and all that it needs.

    Raises:
        ValueError: modules that need each other in a circle, or a form that is not understood.

    """
    linked: dict[str, str] = {}
    _link(files, main, linked, ())
    script = "\n".join(linked.values())
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("a module holds what would end its element: write it in two parts")
    return script


def _link(files: Mapping[str, str], name: str, linked: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        raise ValueError(f"{name}.js needs itself: {' → '.join((*above, name))}")
    if name in linked:
        return
    source = files[f"{name}.js"]
    for needed in _IMPORT.finditer(source):
        _link(files, needed[2], linked, (*above, name))
    body = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = ${found[2]};", source)
    exported = _EXPORT.findall(body)
    body = _EXPORT.sub("", body)
    if left := re.search(r"^(?:import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name}.js has {left[0]!r}: use one of the two forms")
    linked[name] = f"const ${name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"
