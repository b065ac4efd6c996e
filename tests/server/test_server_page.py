"""Laws of the page as it is served: files that load nothing from elsewhere; its policy lets nothing else run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from server_fakes import Served

import avengers_edge.server.launcher as launcher
from avengers_edge.cli.root_command import cli
from avengers_edge.server.chat_page import FOLDER, page_routes

KEY = "a-key-of-sixteen-letters"
NODE = shutil.which("node")
FILES = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir() if path.is_file()}
MODULES = sorted(name for name in FILES if name.endswith(".js"))
MARKDOWN = FOLDER / "vendor" / "markdown-it.esm.min.mjs"
OURS = [f"/page/{name}" for name in ("main.js", "page.css", "vendor/markdown-it.esm.min.mjs")]


@pytest.fixture(scope="module")
def page():
    return Served(routes=page_routes())("GET", "/")


def policy(response):
    return dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))


def test_the_page_and_its_files_have_their_types_and_headers(page):
    served = Served(routes=page_routes())
    assert page.text.startswith("<!doctype html>\n<html lang=")
    for path, kind in zip(["/", *OURS], ["html", "javascript", "css", "javascript"], strict=True):
        got = served("GET", path)
        assert got.status_code == 200, path
        assert got.headers["content-type"] == f"text/{kind}; charset=utf-8"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["referrer-policy"] == "no-referrer"
        assert got.headers["cache-control"] == "no-cache"
        assert policy(got) == policy(page)


def test_a_files_type_does_not_depend_on_what_the_system_takes_it_for(monkeypatch):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
    monkeypatch.setattr("starlette.responses.guess_type", lambda *_, **__: ("text/plain", None))
    assert Served(routes=page_routes())("GET", OURS[0]).headers["content-type"].startswith("text/javascript")


def test_the_policy_lets_nothing_in_but_the_pages_own_style_and_scripts(page):
    rules = policy(page)
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert re.findall(r"<style|<script(?![^>]* src=)|<script[^>]*>[^<]", page.text) == []


def test_the_page_names_no_other_place(page):
    text = "\n".join(FILES.values())
    assert re.findall(r"https?://[\w.]|//\w+\.\w+/", text.replace("noopener", "")) == []
    loaded = re.findall(r'\b(?:src|href|action|srcset)="(?!#|data:image/png;base64,)([^"]*)"', page.text)
    assert loaded == ["page/page.css", "page/main.js"]
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)  # comments import types
    assert re.findall(r"@import|url\(|\bimport\(|importScripts|new Worker|WebSocket", code) == []
    imported = {name for _, name in re.findall(r'^import ({[^}]*}|\w+) from "\./([^"]+)";$', code, re.MULTILINE)}
    assert imported < {*FILES, f"vendor/{MARKDOWN.name}"}
    assert len(re.findall(r"^import ", code, re.MULTILINE)) == len(
        re.findall(r'^import .* from "\./', code, re.MULTILINE)
    )


def test_what_is_vendored_is_what_its_licences_name():
    licences = (MARKDOWN.parent / "LICENSES.txt").read_text(encoding="utf-8")
    assert f"sha256 {hashlib.sha256(MARKDOWN.read_bytes()).hexdigest()}\n" in licences
    assert [path.name for path in sorted(MARKDOWN.parent.iterdir())] == ["LICENSES.txt", MARKDOWN.name]
    for name in ("markdown-it", "linkify-it", "mdurl", "uc.micro", "entities", "punycode.js"):
        assert f"--- {name} (" in licences


def test_no_script_turns_text_into_markup_or_code():
    for path in (*FOLDER.glob("*.js"), MARKDOWN):
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|setHTML"
        assert re.findall(forbidden, path.read_text(encoding="utf-8")) == [], path
    assert re.findall(r"\son\w+=|\sstyle=", FILES["index.html"]) == []


def test_a_page_that_is_known_is_not_sent_again(page):
    served, tag = Served(routes=page_routes()), page.headers["etag"]
    for sent in (tag, f'"other", W/{tag}'):
        again = served("GET", "/", headers={"if-none-match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert policy(again) == policy(page)
    assert served("GET", "/", headers={"if-none-match": '"other"'}).status_code == 200
    assert served("HEAD", "/").content == b""
    script = served("GET", OURS[0])
    assert served("GET", OURS[0], headers={"if-none-match": script.headers["etag"]}).status_code == 304


def test_the_page_needs_no_key_and_holds_none_and_what_it_calls_needs_it():
    served = Served(routes=page_routes(), api_key=KEY)
    for path in ("/", *OURS):
        got = served("GET", path)
        assert got.status_code == 200 and KEY not in got.text
    for path in ("/page", "/page/../v1/models", "/page/%2e%2e/%2e%2e/app.py", "/page/", "/page/vendor"):
        assert served("GET", path).status_code in (401, 404), path
    assert served("GET", "/v1/models").status_code == 401
    assert served("GET", "/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


def test_the_command_serves_it(monkeypatch):
    served = []
    monkeypatch.setattr(launcher, "serve", lambda app, options, started: served.append(app))
    assert CliRunner().invoke(cli, ["serve"]).exit_code == 0

    async def get():
        transport = httpx.ASGITransport(served[0].asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/")

    assert asyncio.run(get()).headers["content-type"].startswith("text/html")


def test_other_hosts_and_pages_do_not_get_it_either():
    served = Served(routes=page_routes())
    assert served("GET", "/", headers={"host": "evil.example"}).status_code == 403
    assert served("GET", "/", headers={"origin": "http://evil.example"}).status_code == 403
    assert served("POST", "/", {}).status_code == 405


def test_a_module_is_one_idea_and_begins_by_saying_it():
    for name in MODULES:
        lines = FILES[name].splitlines()
        assert len(lines) <= 300, name
        assert lines[0].startswith("/**"), name


def test_every_name_that_a_script_looks_for_is_in_the_page():
    html = FILES["index.html"]
    for name in MODULES:
        for wanted in re.findall(r'(?:find|querySelectorAll)\(\s*"([^"]+)"', FILES[name]):
            if wanted.startswith("#"):
                assert f'id="{wanted[1:]}"' in html, wanted
            elif wanted.startswith("["):
                assert re.search(rf"\s{re.escape(wanted[1:-1])}[\s>=]", html), wanted
        for wanted in re.findall(r'stamp\("([^"]+)"\)', FILES[name]):
            assert f'<template id="template-{wanted}">' in html
    assert len(set(re.findall(r'\sid="([^"]+)"', html))) == len(re.findall(r'\sid="', html))


# --- scripts, in Node ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize(("name_of_laws", "least"), [("page_laws.mjs", 30), ("chat_laws.mjs", 2)])
def test_the_scripts_keep_their_own_laws(tmp_path, name_of_laws, least):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}), encoding="utf-8")
    laws = Path(__file__).parent / name_of_laws
    shutil.copy(laws, tmp_path)
    done = subprocess.run([NODE, "--test", laws.name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.findall(r"^# pass (\d+)", done.stdout, re.MULTILINE)[0]) >= least
