"""Calibration from end to end on a real model, off line: measure, fit, evaluate, each in a real process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from homes import linked_home

from avengers_edge.config import Settings
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.teams import Teams

pytestmark = pytest.mark.native

MODEL = "smollm2-135m-instruct"
MEMBER = f"{MODEL}:direct"
MEMBERS = (MEMBER, f"{MODEL}:brief")
# These are answered in a few tokens.
ASKED = (
    "--questions",
    "builtin",
    "--datasets",
    "builtin_everyday,builtin_arithmetic",
)


@pytest.fixture
def home(model_home, tmp_path):
    """A home of its own with the real model and a team that asks it in two ways."""
    folder = linked_home(model_home, tmp_path / "home")
    teams = Teams(Settings(folder))
    teams.create("pair", teams.members(MEMBERS))
    teams.use("pair")
    return folder


@pytest.fixture
def command(home):
    environ = os.environ | {"AVENGERS_HOME": str(home), "AVENGERS_OFFLINE": "1"}

    def start(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "avengers_edge", "calibrate", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environ,
            text=True,
        )

    return start


def finished(process, code=0):
    out, complaint = process.communicate(timeout=300)
    assert process.returncode == code, complaint
    return out


def test_measure_fit_evaluate_and_report_run_end_to_end(command, home, tmp_path):
    pytest.importorskip("sklearn")
    outcomes, table, page = tmp_path / "o.jsonl", tmp_path / "t.safetensors", tmp_path / "r.html"
    words = ("measure", *ASKED, "--members", ",".join(MEMBERS), "--limit", 12, "--out", outcomes, "--json")
    facts = json.loads(finished(command(*words)))
    assert facts["n"] == 12
    rows = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 12
    assert all(row["tokens"][name] > 0 and row["seconds"][name] > 0 for row in rows for name in MEMBERS)
    assert {row["dataset"] for row in rows} == set(ASKED[3].split(","))
    for name in MEMBERS:
        assert facts["members"][name] == pytest.approx(100 * sum(row["scores"][name] for row in rows) / 12, abs=0.01)

    assert json.loads(finished(command("fit", "--outcomes", outcomes, "--out", table, "--json")))["n"] == 12
    found = json.loads(finished(command("evaluate", "--table", table, "--outcomes", outcomes, "--json")))
    with contextlib.closing(open_shipped_embedder(Settings(home))) as embedder:
        router = Router(CentroidTable.load(table, fingerprint=embedder.fingerprint))
        picked = router.expected(embedder.embed([row["prompt"] for row in rows])).argmax(axis=1)
    right = [row["scores"][MEMBERS[place]] for row, place in zip(rows, picked, strict=True)]
    assert found["micro"]["router"] == pytest.approx(100 * sum(right) / 12, abs=0.01)

    finished(command("report", "--quick", "--outcomes", outcomes, "--out", page))
    assert all(name in page.read_text(encoding="utf-8") for name in MEMBERS)

    before = outcomes.read_bytes()
    assert json.loads(finished(command(*words))) == facts
    assert outcomes.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT] if os.name != "nt" else [])
def test_a_measurement_that_was_stopped_goes_on(command, tmp_path, stop):
    outcomes = tmp_path / "o.jsonl"
    words = ("measure", *ASKED, "--members", MEMBER, "--limit", 6, "--out", outcomes, "--json")
    process = command(*words)
    while not (outcomes.exists() and outcomes.read_bytes().count(b"\n") >= 2) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(stop)
    process.communicate(timeout=60)
    kept = [json.loads(line) for line in outcomes.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert len(kept) >= 2
    assert json.loads(finished(command(*words)))["n"] == 6
    rows = {row["id"]: row for row in map(json.loads, outcomes.read_text(encoding="utf-8").splitlines())}
    assert len(rows) == 6
    assert all(rows[row["id"]] == row for row in kept)
