"""The rooms and who may import whom; see the picture in docs/how-it-works.md."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from collections import Counter

import pytest
from rooms import MAY_IMPORT, ONLY_IN, OPENS_SOCKETS, PACKAGE


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@functools.cache
def nodes(path):
    """The import statements of a file, wherever they stand."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of(path):
    """All modules a file imports, wherever the statement stands, type-checking blocks too."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way():
    for path in modules():
        room = room_of(path)
        if room in ("__init__", "__main__"):
            continue
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "avengers_edge" and len(parts) > 1 and parts[1] != "__version__":
                assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{path}: {room} must not import {name}"
            if parts[0] in ONLY_IN:
                assert room in ONLY_IN[parts[0]], f"{path}: {parts[0]} belongs to {ONLY_IN[parts[0]]}"
            if name in OPENS_SOCKETS:
                listens = name == "socket" and path == PACKAGE / "server" / "launcher.py"  # it has its address first
                at_home = path == PACKAGE / "cli" / "running_server.py"  # a test holds it to loopback
                assert room == "library" or listens or at_home, f"{path}: {room} must not be able to reach the network"


def modules_imported_by(path, known):
    """The package's modules that a file imports; a name out of a module stands for the module."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in known else node.module for name in names)


def test_no_module_takes_part_in_an_import_circle():
    """Not by a lazy import either, nor by one for type checkers: of two modules one is built on the other."""
    known = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules()
    }
    graph = {name: known.keys() & set(modules_imported_by(path, known)) for name, path in known.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_module_name_occurs_twice():
    """A name leads to one file: what is searched for is found at once."""
    counted = Counter(path.stem for path in modules() if path.stem != "__init__")
    assert [name for name, count in counted.items() if count > 1] == []


def test_voting_is_pure_python():
    allowed = sys.stdlib_module_names | {"avengers_edge"}
    for path in (PACKAGE / "voting").glob("*.py"):
        assert {name.split(".")[0] for name in imports_of(path)} <= allowed


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import avengers_edge", {"numpy", "onnxruntime", "llama_cpp", "sklearn", "click", "jinja2"}),
        (
            "import avengers_edge.cli.root_command",
            {"avengers_edge.cli.ask_command", "avengers_edge.cli.bundle_command", "sqlite3"},
        ),
        (
            "from avengers_edge.cli.root_command import cli\n"
            "for name in cli.list_commands(None):\n    cli.get_command(None, name)",
            {"numpy", "onnxruntime", "llama_cpp", "sklearn", "tokenizers", "jinja2", "prompt_toolkit", "rich"}
            | {"starlette", "uvicorn"},
        ),
        (
            "import avengers_edge.runtime, avengers_edge.cli.ask_command",
            {f"avengers_edge.{name}" for name in ("election", "ways", "engine.model_pool", "sandbox.programs")}
            | {"avengers_edge.cli.running_server", "http.client"},
        ),
        (
            "import avengers_edge.election, avengers_edge.engine.model_pool, avengers_edge.sandbox.programs",
            {"llama_cpp", "sklearn", "huggingface_hub", "urllib.request", "pydantic_monty", "sympy"},
        ),
    ],
)
def test_importing_loads_nothing_heavy(statement, forbidden):
    code = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert forbidden.isdisjoint(loaded)
