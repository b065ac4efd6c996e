"""Models named by where they are: what a name means, which file is chosen, and pulling it through the hub's client."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading

import pytest
from click.testing import CliRunner
from fake_hub import serving_hub
from gguf_files import tiny_model

from avengers_edge.cli.root_command import cli
from avengers_edge.config import Settings
from avengers_edge.errors import BadRequest, DoesNotFit, NotFound, OfflineRefused
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.references import Reference, locate, parse_reference
from avengers_edge.library.store import Store

pytest.importorskip("huggingface_hub")

REPO = "owner/Tiny-GGUF"
DATA = tiny_model()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("qwen3-8b", None),
        ("owner/repo", Reference("owner/repo")),
        ("owner/repo:Q4_K_M", Reference("owner/repo", None, "Q4_K_M")),
        ("hf.co/owner/repo:q6_k", Reference("owner/repo", None, "q6_k")),
        ("huggingface.co/owner/repo", Reference("owner/repo")),
        ("https://huggingface.co/owner/repo", Reference("owner/repo")),
        ("https://huggingface.co/owner/repo/blob/main/a.gguf", Reference("owner/repo", "a.gguf")),
        ("https://huggingface.co/owner/repo/resolve/v1/sub/a.gguf?download=true",
         Reference("owner/repo", "sub/a.gguf", None, "v1")),
        ("hf:owner/repo/a.gguf", Reference("owner/repo", "a.gguf")),
        ("hf:owner/repo/Q4/a-00001-of-00002.gguf", Reference("owner/repo", "Q4/a-00001-of-00002.gguf")),
        ("https://example.org/x/a.gguf", Reference(url="https://example.org/x/a.gguf")),
    ],
)  # fmt: skip
def test_a_name_is_an_id_a_place_on_the_hub_or_an_address(name, reference):
    assert parse_reference(name) == reference


@pytest.mark.parametrize("name", ["owner/", "/repo", "a/b/c", "https://example.org/a.zip", "owner/re po", "a//b"])
def test_what_is_no_place_is_refused(name):
    with pytest.raises(BadRequest):
        parse_reference(name)


@pytest.fixture
def hub(monkeypatch):
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 2)
        hub.repositories[REPO] = {
            "README.md": b"hello",
            "Tiny-Q2_K.gguf": tiny_model(2),
            "Tiny-Q4_K_M.gguf": DATA,
            "Tiny-Q8_0.gguf": tiny_model(8),
            "mmproj-Tiny-F16.gguf": b"no model",
        }
        yield hub


@pytest.fixture
def run(home):
    return lambda *words, **options: CliRunner().invoke(cli, list(map(str, words)), **options)


def located(name, free=None):
    return locate(parse_reference(name), {}, free=free, offline=False)


def test_without_a_quantization_it_is_the_usual_one_or_the_largest_that_fits(hub):
    manifest, why = located(REPO)
    assert (manifest.file, manifest.licence, manifest.sha256) == (
        "Tiny-Q4_K_M.gguf", "apache-2.0", hashlib.sha256(DATA).hexdigest(),
    )  # fmt: skip
    assert "usual balance" in why
    del hub.repositories[REPO]["Tiny-Q4_K_M.gguf"]
    hub.repositories[REPO]["Tiny-Q8_0.gguf"] += bytes(10_000)
    assert located(REPO)[0].file == "Tiny-Q8_0.gguf"
    assert located(REPO, free=5_000)[0].file == "Tiny-Q2_K.gguf"
    with pytest.raises(DoesNotFit, match=f"{REPO}:Q2_K"):
        located(REPO, free=10)


def test_a_quantization_or_a_file_is_taken_as_named_whatever_fits(hub):
    assert located(f"hf.co/{REPO}:q8_0", free=10)[0].file == "Tiny-Q8_0.gguf"
    assert located(f"hf:{REPO}/Tiny-Q2_K.gguf", free=10)[0].file == "Tiny-Q2_K.gguf"
    with pytest.raises(NotFound, match="has no quantization Q6_K: it has .*Q2_K"):
        located(f"{REPO}:Q6_K")
    with pytest.raises(NotFound, match="has no file"):
        located(f"hf:{REPO}/other.gguf")


def test_fifty_quantizations_are_not_all_listed_and_none_is_an_error(hub):
    hub.repositories[REPO] = {f"Tiny-{place}.gguf": DATA for place in range(50)}
    with pytest.raises(NotFound) as error:
        located(f"{REPO}:Q6_K")
    assert "and 38 more" in str(error.value)
    hub.repositories[REPO] = {"README.md": b"", "model.safetensors": b""}
    with pytest.raises(NotFound, match="has no GGUF file"):
        located(REPO)


def test_split_files_are_one_model_of_several_parts(hub):
    names = [f"Big/Tiny-Q6_K-0000{n}-of-00002.gguf" for n in (1, 2)]
    hub.repositories[REPO] = {name: tiny_model(n) for n, name in enumerate(names)}
    manifest, _ = located(f"{REPO}:Q6_K")
    assert (manifest.file, [part.file for part in manifest.parts]) == (
        "Tiny-Q6_K-00001-of-00002.gguf", ["Tiny-Q6_K-00002-of-00002.gguf"],
    )  # fmt: skip
    del hub.repositories[REPO][names[1]]
    with pytest.raises(NotFound, match="a part of"):
        located(REPO)


def test_a_pulled_place_is_a_model_under_its_name_and_its_place(hub, run, home):
    result = run("models", "pull", REPO)
    assert result.exit_code == 0, result.output
    assert "usual balance" in result.stderr
    catalog = Catalog.of(Settings(home=home))
    manifest = catalog.load_model("tiny-q4_k_m")
    assert (manifest.licence, manifest.context_length > 1, manifest.checked) == ("apache-2.0", True, True)
    assert Store(home).find(manifest).read_bytes() == DATA
    for name in (REPO, f"hf.co/{REPO}:q4_k_m", f"hf:{REPO}/Tiny-Q4_K_M.gguf"):
        assert catalog.load_model(name) == manifest
    with pytest.raises(NotFound, match="models pull"):
        catalog.load_model(f"{REPO}:Q8_0")
    hub.asked.clear()
    assert "already there" in run("models", "pull", REPO).stderr
    assert hub.asked == []
    assert run("team", "create", "mine", "--member", REPO).exit_code == 0
    assert catalog.load_team("mine").models == ("tiny-q4_k_m",)
    assert run("models", "remove", REPO).exit_code == 0
    assert run("models", "pull", "tiny-q4_k_m").exit_code == 0


def test_two_repositories_of_one_file_name_have_ids_of_their_own(hub, run, home):
    hub.repositories["other/Tiny"] = {"Tiny-Q4_K_M.gguf": tiny_model(7)}
    assert run("models", "pull", REPO, "other/Tiny").exit_code == 0
    assert {"tiny-q4_k_m", "other-tiny-q4_k_m"} <= set(Catalog.of(Settings(home=home)).list_models())


def test_a_cut_connection_is_resumed_by_the_next_pull(hub, run, home):
    hub.cut = 200
    run("models", "pull", REPO)
    result = run("models", "pull", REPO)
    assert result.exit_code == 0, result.output
    assert Store(home).find(Catalog.of(Settings(home=home)).load_model(REPO)).read_bytes() == DATA


def test_a_hub_that_lies_of_a_hash_brings_nothing(hub, run, home):
    hub.lie = "0" * 64
    result = run("models", "pull", REPO)
    assert (result.exit_code, result.stderr.splitlines()[-1].count("avengers: ")) == (4, 1), result.output
    assert Store(home).installed() == ()
    with pytest.raises(NotFound):
        Catalog.of(Settings(home=home)).load_model(REPO)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_the_hub_refuses_is_one_line(hub, run, status):
    hub.fault = status
    result = run("models", "pull", REPO)
    assert result.exit_code in (1, 3), result.output
    assert result.stderr.splitlines()[-1].startswith("avengers: ")
    assert "Traceback" not in result.output


def test_an_unknown_repository_is_3_and_off_line_is_5(hub, run):
    result = run("models", "pull", "nobody/nothing")
    assert (result.exit_code, "the hub has no nobody/nothing" in result.stderr) == (3, True), result.output
    result = run("--offline", "models", "pull", REPO)
    assert result.exit_code == 5
    with pytest.raises(OfflineRefused):
        locate(parse_reference(REPO), {}, free=None, offline=True)


class _File(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _File) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/some-model.gguf"
        server.shutdown()
        thread.join()


def test_a_file_at_an_address_needs_its_hash_or_a_yes_and_is_then_held_to_it(address, run, home):
    refused = run("models", "pull", address)
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True), refused.output
    wrong = run("models", "pull", address, "--sha256", "0" * 64)
    assert wrong.exit_code == 4, wrong.output
    taken = run("models", "pull", address, "--yes")
    assert taken.exit_code == 0, taken.output
    manifest = Catalog.of(Settings(home=home)).load_model("some-model")
    assert manifest.sha256 == hashlib.sha256(DATA).hexdigest()
    assert json.loads(run("models", "show", address, "--json").stdout)["id"] == "some-model"
