"""Models that other programs have: each store is read as its program writes it, under the names that people know."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from gguf_files import tiny_model

from avengers_edge.cli.root_command import cli
from avengers_edge.config import Settings
from avengers_edge.errors import NotFound
from avengers_edge.library import finder
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.finder import find_models
from avengers_edge.library.store import Store

DATA = tiny_model()


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    monkeypatch.setattr(finder, "_LEAST_BYTES", 1)


def put(path, data=DATA):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def ollama(home, name, digest="sha256:" + "a" * 64, *, blob=True, namespace="library", tag="latest"):
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:b", "size": 1},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": len(DATA)},
    ]
    store = home / ".ollama" / "models"
    manifest = store / "manifests" / "registry.ollama.ai" / namespace / name / tag
    put(manifest, json.dumps({"layers": layers}).encode())
    return put(store / "blobs" / digest.replace(":", "-")) if blob else None


def names(home, **environ):
    return {(each.program, each.name) for each in find_models(home=home, environ=environ)}


def test_every_programs_store_is_read_by_its_own_names(tmp_path):
    ollama(tmp_path, "llama3.2", tag="3b")
    ollama(tmp_path, "mine", "sha256:" + "c" * 64, namespace="ann")
    put(tmp_path / ".lmstudio" / "models" / "owner" / "repo" / "Qwen3-4B-Q4_K_M.gguf")
    put(tmp_path / ".cache" / "huggingface" / "hub" / "models--a--b" / "snapshots" / "c0ffee" / "Phi-Q8_0.gguf")
    put(tmp_path / ".cache" / "llama.cpp" / "ggml-org_gemma-Q4_0.gguf")
    put(tmp_path / ".local" / "share" / "nomic.ai" / "GPT4All" / "Orca.Q4_0.gguf")
    put(tmp_path / ".local" / "share" / "Jan" / "data" / "llamacpp" / "models" / "some" / "model.gguf")
    assert names(tmp_path) == {
        ("Ollama", "llama3.2:3b"),
        ("Ollama", "ann/mine:latest"),
        ("LM Studio", "Qwen3-4B-Q4_K_M"),
        ("Hugging Face", "Phi-Q8_0"),
        ("llama.cpp", "ggml-org_gemma-Q4_0"),
        ("GPT4All", "Orca.Q4_0"),
        ("Jan", "Tiny"),  # the file's name says nothing, so it is the one in its header
    }


def test_stores_that_lie_elsewhere_are_found_by_their_variables(tmp_path):
    put(tmp_path / "elsewhere" / "hub" / "x.gguf")
    put(tmp_path / "cache" / "y.gguf")
    found = names(tmp_path, HF_HOME=str(tmp_path / "elsewhere"), LLAMA_CACHE=str(tmp_path / "cache"))
    assert found == {("Hugging Face", "x"), ("llama.cpp", "y")}


def test_what_is_no_whole_model_is_passed_over(tmp_path):
    ollama(tmp_path, "loading", blob=False)
    ollama(tmp_path, "broken", "sha256:" + "d" * 64)
    put(tmp_path / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library" / "broken" / "latest", b"{")
    folder = tmp_path / "files"
    put(folder / "text.gguf", b"not a model at all")
    put(folder / "mmproj-x.gguf")
    put(folder / "big-00002-of-00003.gguf")
    put(folder / "half-00001-of-00002.gguf")
    (folder / "gone.gguf").symlink_to(folder / "nowhere")
    (folder / "loop.gguf").symlink_to(folder / "loop.gguf")
    assert names(tmp_path) == set()
    assert find_models([folder]) == ()
    with pytest.raises(NotFound):
        find_models([tmp_path / "none"])


def test_parts_are_one_model_and_one_file_is_listed_once(tmp_path):
    for number in (1, 2):
        put(tmp_path / f"big-Q6_K-0000{number}-of-00002.gguf")
    (tmp_path / "link.gguf").symlink_to(tmp_path / "big-Q6_K-00001-of-00002.gguf")
    (big,) = find_models([tmp_path])
    assert (big.name, big.bytes, big.quantization) == ("big-Q6_K", 2 * len(DATA), "Q6_K")


def test_what_is_found_is_listed_and_linked_in_place(tmp_path, home, monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    blob = ollama(tmp_path, "llama3.2", tag="3b")
    put(tmp_path / ".lmstudio" / "models" / "o" / "r" / "other.gguf", tiny_model(1))
    run = CliRunner().invoke
    listed = run(cli, ["models", "find", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == ["llama3.2:3b", "other"]
    assert "llama3.2:3b" in run(cli, ["find"]).stdout
    linked = run(cli, ["models", "find", "--link", "--only", "llama3.2:3b", "--yes"])
    assert linked.exit_code == 0, linked.output
    manifest = Catalog.of(Settings(home=home)).load_model("llama3.2-3b")
    assert Store(home).find(manifest) == blob
    assert [each.model for each in Store(home).installed()] == ["llama3.2-3b"]
    unknown = run(cli, ["models", "find", "--only", "gpt-5"])
    assert (unknown.exit_code, "'gpt-5'" in unknown.stderr) == (3, True)


def test_a_folder_is_imported_file_by_file(tmp_path, home):
    put(tmp_path / "in" / "one.gguf")
    put(tmp_path / "in" / "deeper" / "two.gguf", tiny_model(1))
    result = CliRunner().invoke(cli, ["models", "import", str(tmp_path / "in"), "--json"])
    assert [row["id"] for row in json.loads(result.stdout)] == ["one", "two"]
    refused = CliRunner().invoke(cli, ["models", "import", str(tmp_path / "in"), "--id", "x"])
    assert refused.exit_code == 2
