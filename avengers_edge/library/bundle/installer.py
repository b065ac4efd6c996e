"""The installer as one file: the modules that need only the standard library, joined in the order of their imports.

So a machine that has nothing but Python checks a bundle with the very code that the product checks it with.
"""

from __future__ import annotations

import ast
from pathlib import Path

import avengers_edge
from avengers_edge.library.bundle.archive import Front, Problem
from avengers_edge.library.bundle.layout import installer_beside
from avengers_edge.library.files import sha256_of

_PIECES = (
    "errors",
    "library/names",
    "library/bundle/zstd",
    "library/bundle/tar",
    "library/bundle/ed25519",
    "library/bundle/manifest",
    "library/bundle/archive",
    "library/bundle/install",
)
_HEAD = '''#!/usr/bin/env python3
"""Installs a bundle of Avengers Edge; Python {least} or newer suffices, and nothing is fetched from any network.

    python3 NAME.install.py NAME.tar.zst --venv DIR [--home DIR] [--key PUBLIC] [--replace]

It was joined from modules of avengers-edge {version}: {pieces}.
"""

from __future__ import annotations

import sys

if sys.version_info < ({numbers}):
    sys.exit("Python {least} or newer is needed: run this with another python3")

'''
_LEAST = (3, 11)
_TAIL = """

if __name__ == "__main__":
    sys.exit(install_main(sys.argv[1:]))
"""


def installer_script() -> bytes:
    """Build the script; the same product always builds the same bytes."""
    package = Path(avengers_edge.__file__).parent
    imports: dict[str, set[str]] = {}
    bodies = []
    for piece in _PIECES:
        source = (package / f"{piece}.py").read_text(encoding="utf-8")
        bodies.append(f"# --- {piece} ---\n\n{_without_imports(source, imports)}")
    head = _HEAD.format(
        least=".".join(map(str, _LEAST)),
        numbers=", ".join(map(str, _LEAST)),
        version=avengers_edge.__version__,
        pieces=", ".join(piece.rsplit("/")[-1] for piece in _PIECES),
    )
    return (head + _spell(imports) + "\n\n" + "\n\n".join(bodies) + _TAIL).encode("utf-8")


def check_installer(archive: Path, front: Front) -> tuple[Path | None, Problem | None]:
    """Compare the installer beside an archive, which is run before anything can check it, with what is promised of it.

    Returns:
        Its path, None where there is none, and what is wrong with it.

    """
    path = installer_beside(archive)
    told = [file.sha256 for file in front.manifest.files if file.role == "installer"]
    try:
        if not path.is_file():
            return None, None
        found = sha256_of(path)
    except OSError as error:
        return path, Problem(path.name, "bad", f"it cannot be read: {error.strerror or error}; do not run it")
    if found not in told:
        why = f"its sha256 begins with {found[:12]}, and the bundle's installer is another one; do not run it"
        return path, Problem(path.name, "bad", why)
    return path, None


def _spell(imports: dict[str, set[str]]) -> str:
    plain = [f"import {module}" for module, names in sorted(imports.items()) if not names]
    parts = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items()) if names]
    return "\n".join(plain + parts) + "\n"


def _without_imports(source: str, imports: dict[str, set[str]]) -> str:
    """Cut a module's docstring and imports; `imports` collects which names of which standard modules it needs."""
    lines = source.splitlines()
    for number, node in enumerate(ast.parse(source).body):
        if isinstance(node, ast.Import):
            imports |= {alias.name: set() for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("__", "avengers_edge")):
            imports.setdefault(node.module, set()).update(alias.name for alias in node.names)
        if isinstance(node, ast.Import | ast.ImportFrom) or (number == 0 and isinstance(node, ast.Expr)):
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = ""
    return "\n".join(lines).strip() + "\n"
