"""What is installed is what was tested: the wheel carries the package and everything that ships in models/."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_module_and_is_typed(names):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "avengers_edge").rglob("*.py")}
    assert modules | {"avengers_edge/py.typed"} <= names


def test_the_wheel_has_the_page(names):
    static = ROOT / "avengers_edge" / "server" / "page" / "static"
    files = {path.relative_to(ROOT).as_posix() for path in static.rglob("*.*")}
    assert (
        {f"avengers_edge/server/page/static/{name}" for name in ("index.html", "vendor/LICENSES.txt")} < files <= names
    )


def test_the_wheel_has_all_that_ships_in_models(names):
    shipped = {f"avengers_edge/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "models").rglob("*.*")}
    assert {name for name in shipped if "__pycache__" not in name} <= names
    assert {"avengers_edge/models/embedder/model.onnx", "avengers_edge/models/questions/builtin.jsonl.gz"} <= names


def test_the_wheel_has_no_weights_of_language_models_and_no_tests(names):
    assert not [
        name for name in names if name.endswith(".gguf") or name.startswith(("benchmarks/", "evals/", "tests/"))
    ]
