"""Python examples of all pages run, on a fake engine; what docs/python.md and docs/packaging.md name is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from api_fakes import Embedding
from pages import PAGES, blocks

import avengers_edge
from avengers_edge.api.embedded import Embedded

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PACKAGING = (PAGES[f"docs/{name}.md"] for name in ("python", "packaging"))
# Those of docs/clients.md talk to a server: test_docs_clients.py runs them.
BLOCKS = [(page, block) for page in PAGES if page != "docs/clients.md" for block in blocks(page, "python")]


@pytest.fixture
def opened(monkeypatch):
    """Teams are opened on an engine that says 12, thrice a word."""
    opened = []

    def open(cls, team=None, *, home=None, settings=None):  # noqa: A001 - its real name
        asked = Embedding("The answer is 12", face=cls)
        asked.team._runtime.warm = lambda: None
        opened.append(asked)
        return asked.team

    monkeypatch.setattr(Embedded, "open", classmethod(open))
    monkeypatch.setattr(shutil, "copytree", lambda source, target: None)  # there is no installed program beside us
    return opened


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_each_block_runs_by_itself_and_closes_what_it_opens(place, opened, capsys):
    page, block = BLOCKS[place]
    exec(compile(block, f"block {place}, {page}", "exec"), {"__name__": "__main__"})
    assert [asked.freed for asked in opened] == [1] * block.count(".open(")


def test_the_first_block_is_short_and_prints_the_answer(opened, capsys):
    for page in ("README.md", "docs/python.md"):
        first = blocks(page, "python")[0]
        assert len(first.splitlines()) <= 6
        exec(first, {})
        assert capsys.readouterr().out == "12\n", page


def test_the_recipe_is_python_and_takes_along_what_the_page_says():
    recipe = (DOCS / "examples" / "qt_chat.spec").read_text(encoding="utf-8")
    compile(recipe, "qt_chat.spec", "exec")
    for told in ("shipped_dir()", 'collect_dynamic_libs("llama_cpp")', "avengers_edge/models", "llama-cpp-python"):
        assert told in recipe
        assert told in PACKAGING


def test_every_public_class_of_errors_and_events_is_on_the_page():
    for name in avengers_edge.__all__:
        value = getattr(avengers_edge, name)
        module = getattr(value, "__module__", "")
        if module in ("avengers_edge.errors", "avengers_edge.records.events"):
            assert re.search(rf"\b{name}\b", PAGE), name


def test_every_option_is_on_the_page():
    for name in avengers_edge.Ask.__dataclass_fields__:
        assert f"`{name}`" in PAGE or name.endswith("penalty"), name
