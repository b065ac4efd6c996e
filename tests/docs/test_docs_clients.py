"""`docs/clients.md` is true: its examples run as they stand, but for the address and the names of models."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from clients import LEFT_OPEN, PERSON, WEATHER_CALL, collected, listening

pytestmark = LEFT_OPEN
__all__ = ["collected"]

TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8765/v1"
NAMES = {"smollm2-135m-instruct": "big", "all-MiniLM-L6-v2": "lengths"}
BLOCK = re.compile(r"^```(python|sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
UNTRIED = ("Continue", "aider")


def blocks(language):
    """Give the examples as (section, text), with a name for each."""
    found = [
        (name, block) for name, part in SECTIONS.items() for kind, block in BLOCK.findall(part) if kind == language
    ]
    return [pytest.param(*each, id=f"{each[0]} {place}") for place, each in enumerate(found)]


def for_test(block, served):
    block = block.replace(ADDRESS, served.url)
    for name, fake in NAMES.items():
        block = block.replace(name, fake)
    return block


@pytest.fixture
def served():
    """A fake that calls the function it may call, obeys a schema, and else says a number."""
    with listening(key=None) as house:
        says = house.engine.generate

        def generate(request, **heard):
            called = request.messages[-1].role == "tool"
            house.engine.texts = [
                PERSON if request.sampling.schema else WEATHER_CALL if request.tools and not called else "Answer: 12"
            ]
            return says(request, **heard)

        house.engine.generate = generate
        yield house


@pytest.mark.parametrize(("section", "block"), blocks("python"))
def test_a_python_example_runs_and_prints_what_was_answered(section, block, served, capsys):
    for name in re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install 'avengers-edge[clients]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(for_test(block, served), section, "exec"), {"__name__": "example"})
    said = capsys.readouterr().out
    assert any(answer in said for answer in ("12", "Ann", "Paris")), said
    asked = served.engine.requests
    assert asked
    if "samples" in block:
        assert asked[0].n == 8


@pytest.mark.parametrize(("section", "block"), [each for each in blocks("sh") if each.values[0] not in UNTRIED])
def test_a_command_runs_and_prints_what_was_answered(section, block, served, tmp_path):
    command = for_test(block, served)
    program = command.split()[0]
    if program == "llm" and importlib.util.find_spec("llm") is None:
        pytest.skip("needs llm: pip install 'avengers-edge[clients]'")
    if program == "llm":
        command = f'"{sys.executable}" -m {command}'
    elif shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    environment = {"LLM_USER_PATH": str(tmp_path), "PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=120)
    assert "12" in done.stdout, done.stderr


def test_the_models_of_llm_are_known_by_the_example(served, tmp_path, monkeypatch):
    if importlib.util.find_spec("llm") is None:
        pytest.skip("needs llm: pip install 'avengers-edge[clients]'")
    (block,) = [each.values[1] for each in blocks("yaml") if each.values[0] == "llm"]
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    (tmp_path / "extra-openai-models.yaml").write_text(for_test(block, served), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import llm
    assert llm.get_model("edge").prompt("How many?").text() == "Answer: 12"


def test_every_section_says_the_address_or_that_it_was_not_tried():
    for name, part in SECTIONS.items():
        assert ADDRESS in part, name
        assert ("Not tried here" in part) == (name in UNTRIED), name


def test_every_knob_is_named():
    from avengers_edge.server.schemas import Extension

    for field in Extension.__struct_fields__:
        assert f"`{field}`" in TEXT, field
