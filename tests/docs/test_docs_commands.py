"""The commands that pages show: each is run as it stands where it can be, and is read by the command line otherwise."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from gguf_files import tiny_model
from pages import PAGES, ROOT, avengers_words, commands

from avengers_edge.cli.root_command import cli
from avengers_edge.config import Settings, shipped_dir
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Turn
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.importing import import_file
from avengers_edge.library.store import Store
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Completion, Generation, TokenLogprob

# What cannot be run beside the fast tests, and the tests that run it.
ONLY_READ = {
    r"serve\b|stop\b": "tests/server, tests/native: it listens until it is stopped",
    r"setup\b|models pull\b": "tests/cli/test_cli_models.py: they download",
    r"bundle\b": "tests/library, tests/native: it runs pip, or needs an archive",
    r"bench\b|doctor\b|-v ask\b": "tests/cli, tests/native: they load a real model, or read every module",
    r".*--calibrate\b|calibrate (measure|report|convert)\b": "tests/calibration, tests/native: they take minutes",
    r"models import --link /srv": "tests/library: a model in several files",
    r"models find --link": "tests/library: it wants another program's files",
    r"ask --(schema|grammar|tests)\b": "tests/runtime, tests/native: the fake below is bound by nothing",
}
# The programs of others, and files that are there only where the commands before them were run.
OTHERS = re.compile(r"python3? |pip |source |openssl |pyinstaller |dist/|CMAKE_ARGS=|\(umask ")
INSTALLED = ("qwen2.5-coder-1.5b-instruct", "smollm2-135m-instruct")
MANIFEST = """id = "{name}"
file = "{name}.gguf"
licence = "none"
context_length = 2048
checked = false
[[sources]]
kind = "hf"
repository = "nobody/{name}"
file = "{name}.gguf"
"""
LINES = [(page, line) for page in PAGES for line in commands(page)]


class Obliging:
    """Answers as it is asked: a letter, a program that prints 200, a function, or a sentence with 200."""

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
        said = request.messages[-1].content
        text = "The answer is 200."
        if "Python program" in said:
            text = "```python\nprint(200)\n```"
        elif "function" in said:
            text = "```python\ndef add(a, b):\n    return a + b\n```"
        likely = TokenLogprob("A", -0.1, (("A", -0.1), ("B", -2.5)))
        logprobs = None if request.sampling.logprobs is None else (likely,)
        done, needed = [], request.least or request.n
        while needed:
            done.append(Completion(len(done), len(done), text, 3, "stop", logprobs))
            if on_token:
                on_token(done[-1].index, text)
            needed = on_finish(done[-1]) if on_finish else request.n - len(done)
        return Generation(tuple(done), 5, 1.0, 2.0)


@pytest.fixture(scope="module")
def embedder():
    """The shipped embedder, opened once instead of by each command."""
    with open_shipped_embedder(Settings(home=Path())) as opened:
        yield opened


@pytest.fixture
def machine(home, tmp_path, monkeypatch, embedder):
    """A machine with the files that the pages speak of, and two models that answer without being loaded."""
    monkeypatch.setattr("avengers_edge.runtime.open_shipped_embedder", lambda settings: embedder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ModelPool, "lease", lambda self, model: contextlib.nullcontext(Obliging()))
    (home / "manifests").mkdir(parents=True)
    for salt, name in enumerate(INSTALLED):
        (home / "manifests" / f"{name}.toml").write_text(MANIFEST.format(name=name), encoding="utf-8")
        Path(f"{name}.gguf").write_bytes(tiny_model(salt))
        import_file(Store(home), Path(f"{name}.gguf"), Catalog(home, shipped_dir()), model_id=name)
    Path("Downloads").mkdir()
    for path in ("Downloads/some-model.Q4_K_M.gguf", "some.gguf"):
        Path(path).write_bytes(tiny_model(7))
    for path in ("old.txt", "new.txt", "code.py", "main.py"):
        Path(path).write_text("print(1)\n", encoding="utf-8")
    Path("questions.txt").write_text("How many are 3 and 4?\n", encoding="utf-8")
    Path("questions.jsonl").write_text(json.dumps({"prompt": "How many are 3 and 4?"}) + "\n", encoding="utf-8")
    Path("outcomes.jsonl").write_text("".join(map(outcome, range(24))), encoding="utf-8")
    with ConversationStore(home / FILE_NAME) as store:
        for line in ("Write a haiku about rivers", "Name a river"):
            store.append(store.begin("starter"), Turn("user", line))
    return home


def outcome(n):
    of_sums = n % 2 == 0
    members = [f"{INSTALLED[0]}:{mode}" for mode in ("brief", "program")]
    row = {
        "id": str(n),
        "dataset": "sums" if of_sums else "moods",
        "category": "c",
        "prompt": f"What is {n} + 3?" if of_sums else f"How does person {n} feel after losing a hat?",
        "scores": {members[0]: int(not of_sums), members[1]: int(of_sums)},
    }
    return json.dumps(row) + "\n"


def read(words):
    """Let the command line read a call, with all its options and values, and go no further."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(click.Command, "invoke", lambda self, context: None)  # a group's own goes down to its command
        return CliRunner().invoke(cli, words)


def reason_not_to_run(words):
    line = " ".join(words)
    return next((why for pattern, why in ONLY_READ.items() if re.match(pattern, line)), None)


def test_the_pages_have_commands():
    assert len(LINES) > 60
    assert {page for page, _ in LINES} >= {"README.md", "docs/usage.md", "docs/chat.md", "docs/teams.md"}


def test_every_line_is_a_call_of_ours_a_script_that_is_there_or_another_programs():
    for page, line in LINES:
        script = re.match(r"\./(scripts/\w+)", line)
        assert (
            avengers_words(line) is not None
            or (script is not None and (ROOT / script[1]).exists())
            or OTHERS.match(line) is not None
        ), f"{page}: {line}"


def test_reasons_not_to_run_a_command_name_tests_that_are_there():
    for why in ONLY_READ.values():
        for name in why.partition(":")[0].split(", "):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", sorted({page for page, _ in LINES}))
def test_the_commands_of_a_page_run_in_their_order(page, machine):
    for line in commands(page):
        call = avengers_words(line)
        if call is None:
            continue
        words, given, written = call
        words = [re.sub(r"^~/", f"{Path.home()}/", word) for word in words]
        typed = Path(given).read_text() if given else "y\n"
        result = read(words) if reason_not_to_run(words) else CliRunner().invoke(cli, words, input=typed)
        assert result.exit_code == 0, f"{page}: {line}\n{result.output}"
        if written:
            Path(written).write_text(result.stdout, encoding="utf-8")
