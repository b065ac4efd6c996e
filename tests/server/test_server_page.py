"""Laws of the page as it is served: one document that loads nothing, under a policy that lets nothing else run."""

from __future__ import annotations

import asyncio
import base64
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

import avengers_edge.server.run as run
from avengers_edge.cli.main import cli
from avengers_edge.server.page.linking import join, link
from avengers_edge.server.page.route import page_route, read_files

KEY = "a-key-of-sixteen-letters"
NODE = shutil.which("node")
FILES = read_files()
MODULES = sorted(name for name in FILES if name.endswith(".js"))


@pytest.fixture(scope="module")
def page():
    return Served(routes=(page_route(),))("GET", "/")


def policy(response):
    return dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))


def test_the_page_is_one_document_with_its_headers(page):
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"
    assert page.text.startswith("<!doctype html>\n<html lang=")


def test_the_policy_lets_nothing_in_but_the_pages_own_style_and_script(page):
    rules = policy(page)
    for rule, tag in (("script-src", 'script type="module"'), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]


def test_the_page_names_no_other_place(page):
    assert re.findall(r"https?://[\w.]|//\w+\.\w+/", page.text.replace("noopener", "")) == []
    assert re.findall(r'\b(?:src|href|action|srcset)="(?!#|data:image/png;base64,)[^"]*"', page.text) == []
    code = re.sub(r"/\*.*?\*/", "", page.text, flags=re.DOTALL)  # comments import types
    assert re.findall(r"@import|url\(|\bimport\(|^import |importScripts|new Worker|WebSocket", code, re.MULTILINE) == []


def test_no_script_turns_text_into_markup_or_code():
    for name in MODULES:
        forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|setHTML"
        assert re.findall(forbidden, FILES[name]) == [], name
    assert re.findall(r"\son\w+=|\sstyle=", FILES["index.html"]) == []


def test_a_page_that_is_known_is_not_sent_again(page):
    served, tag = Served(routes=(page_route(),)), page.headers["etag"]
    for sent in (tag, f'"other", W/{tag}', "*"):
        again = served("GET", "/", headers={"if-none-match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert policy(again) == policy(page)
    assert served("GET", "/", headers={"if-none-match": '"other"'}).status_code == 200
    assert served("HEAD", "/").content == b""


def test_the_page_needs_no_key_and_holds_none_and_what_it_calls_needs_it():
    served = Served(routes=(page_route(),), api_key=KEY)
    assert KEY not in served("GET", "/").text
    assert served("GET", "/v1/models").status_code == 401
    assert served("GET", "/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200


def test_the_command_serves_it(monkeypatch):
    served = []
    monkeypatch.setattr(run, "serve", lambda app, options, started: served.append(app))
    assert CliRunner().invoke(cli, ["serve"]).exit_code == 0

    async def get():
        transport = httpx.ASGITransport(served[0].asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/")

    assert asyncio.run(get()).headers["content-type"].startswith("text/html")


def test_other_hosts_and_pages_do_not_get_it_either():
    served = Served(routes=(page_route(),))
    assert served("GET", "/", headers={"host": "evil.example"}).status_code == 403
    assert served("GET", "/", headers={"origin": "http://evil.example"}).status_code == 403
    assert served("POST", "/", {}).status_code == 405


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_one_idea_and_begins_by_saying_it(name):
    lines = FILES[name].splitlines()
    assert len(lines) <= 300
    assert lines[0].startswith("/**")


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


# --- joining ---------------------------------------------------------------------------------------------------------


def test_modules_are_joined_once_each_and_after_those_they_need():
    files = {
        "main.js": 'import { two } from "./two.js";\nimport { one } from "./one.js";\none(two);\n',
        "two.js": 'import { one } from "./one.js";\nexport const two = one();\n',
        "one.js": "export function one() {}\n",
    }
    script = link(files)
    assert re.findall(r"^const \$(\w+)", script, re.MULTILINE) == ["one", "two", "main"]
    assert "const { two } = $two;" in script
    assert "return { two };" in script


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ('import { a } from "./main.js";\n', "needs itself"),
        ('import * as a from "./a.js";\n', "use one of the two forms"),
        ("export default 5;\n", "use one of the two forms"),
        ('"</script>";\n', "would end"),
        ('"<!--";\n', "would end"),
    ],
)
def test_what_cannot_be_joined_is_refused(source, complaint):
    with pytest.raises(ValueError, match=complaint):
        link({"main.js": source})


def test_a_document_without_a_place_for_its_script_is_refused():
    with pytest.raises(ValueError, match="once is needed"):
        join({"index.html": "<p>", "page.css": "", "main.js": ""})


# --- scripts, in Node ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize(("name_of_laws", "least"), [("page_laws.mjs", 30), ("chat_laws.mjs", 2)])
def test_the_scripts_keep_their_own_laws(tmp_path, name_of_laws, least):
    for name in MODULES:
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}), encoding="utf-8")
    laws = Path(__file__).parent / name_of_laws
    shutil.copy(laws, tmp_path)
    done = subprocess.run([NODE, "--test", laws.name], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.findall(r"^# pass (\d+)", done.stdout, re.MULTILINE)[0]) >= least


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_joined_script_is_a_module_that_can_be_read(tmp_path):
    joined = tmp_path / "joined.mjs"
    joined.write_text(join(FILES).script, encoding="utf-8")
    subprocess.run([NODE, "--check", joined], check=True, capture_output=True)
