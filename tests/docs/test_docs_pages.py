"""Every page is true to what is there: links, files, modules, options; generated pages are what their scripts write."""

from __future__ import annotations

import re
import runpy
import tomllib

import click
import pytest
from pages import GENERATED, PAGES, ROOT, anchors, blocks, prose

from avengers_edge import __version__
from avengers_edge.cli.chat.slash_commands import COMMANDS
from avengers_edge.cli.root_command import cli
from avengers_edge.config import load_settings
from avengers_edge.library.catalog import Catalog

_FILE = re.compile(r"\b(?:scripts|evals|benchmarks|tests|avengers_edge)/[\w./-]*\w")
_MODULE = re.compile(r"\| `([a-z_]+/(?:[a-z_]+\.py)?|[a-z_]+/[a-z_]+/|[a-z_]+\.py)` \|$", re.MULTILINE)


def leaves(group, path="avengers"):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_the_readme_is_one_that_people_finish():
    assert len(PAGES["README.md"].splitlines()) <= 220


def test_every_page_is_reached_from_the_readme():
    for page in PAGES:
        if page != "README.md":
            assert f"]({page})" in PAGES["README.md"], page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_page_that_is_there_and_to_a_heading_in_it(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page):
    for name in _FILE.findall(PAGES[page]):
        if name != "avengers_edge/models":  # where the wheel has what is models/ here
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_every_term_of_the_glossary_names_a_module_that_is_there():
    glossary = PAGES["docs/development.md"].partition("## Glossary")[2]
    rows = [line for line in glossary.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 40
    for row in rows:
        (module,) = _MODULE.findall(row)
        assert (ROOT / "avengers_edge" / module).exists(), row


def test_every_room_is_in_the_picture():
    picture = PAGES["docs/how-it-works.md"]
    for path in (ROOT / "avengers_edge").iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.name}`" in picture, path.name
        elif (path / "__init__.py").exists():
            assert f"`{path.name}/`" in picture, path.name


def test_generated_pages_are_what_their_scripts_write():
    for script, page in zip(("command_reference", "settings_reference"), GENERATED, strict=True):
        written = runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["reference"]()
        assert written == PAGES[page], f"run scripts/{script}.py"
        assert "...." not in written


def test_a_command_in_a_sentence_is_one_and_has_the_options_named_with_it():
    known = dict(leaves(cli))
    groups = {path.rpartition(" ")[0] for path in known}
    for page in PAGES:
        for words in re.findall(r"`(avengers(?: [^`]+)?)`", prose(page)):
            named = [word for word in words.split(",")[0].split() if re.fullmatch(r"[a-z]+", word)]
            found = next((path for n in (3, 2, 1) if (path := " ".join(named[:n])) in known or path in groups), None)
            assert found, f"{page}: {words}"
            if len(named) > 1:
                assert found != "avengers" or "--" in words, f"{page}: {words}"
            if found in known:
                options = {option for each in (*known[found].params, *cli.params) for option in each.opts}
                for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", words):
                    assert option in options | {"--help", "--version"}, f"{page}: {words}"


def test_settings_and_ways_of_asking_that_pages_show_are_read(home):
    home.mkdir()
    for page in PAGES:
        for block in blocks(page, "toml"):
            name = "modes.toml" if ".instructions]" in block else "settings.toml"
            (home / name).write_text(block, encoding="utf-8")
            settings = load_settings()
            modes = Catalog.of(settings).modes()
            if name == "modes.toml":
                assert set(re.findall(r"^\[(\w+)\]", block, re.MULTILINE)) <= set(modes), page
            else:
                assert all(getattr(settings, key) is not None for key in tomllib.loads(block)), page


def test_every_option_of_ask_is_in_the_guide():
    (ask,) = [command for path, command in leaves(cli) if path == "avengers ask"]
    for parameter in ask.params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert re.search(rf"{option}\b", PAGES["docs/usage.md"] + PAGES["docs/cli.md"]), option


def test_every_slash_command_of_the_chat_is_in_its_guide():
    for command in COMMANDS:
        assert f"/{command.name}" in PAGES["docs/chat.md"], command.name


def test_the_rows_of_a_table_are_as_wide_as_its_head():
    for page in PAGES:
        width = 0
        for line in prose(page).splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line))
            width = width or cells
            assert cells == width, f"{page}: {line}"


def test_every_command_shows_an_example_in_its_help_and_every_option_explains_itself():
    for path, command in leaves(cli):
        assert re.search(rf"^ .*\b{path}\b", command.help or "", re.MULTILINE), f"{path} --help has no example"
        assert command.help.split("\n\n")[0].endswith("."), path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts}"


def test_the_newest_changelog_entry_is_this_version():
    (first, *_) = (
        name
        for name in re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        if name != "Unreleased"
    )
    assert first == __version__


def test_no_place_is_left_to_be_filled_in():
    for page, text in PAGES.items():
        assert "@@" not in text, page
