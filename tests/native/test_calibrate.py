"""Calibration from end to end on a real model, off line: measure, fit, evaluate, each in a real process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.native

MODEL = "smollm2-135m-instruct"
MEMBER = f"{MODEL}:direct"
# These are answered in a few tokens.
ASKED = (
    "--questions",
    "builtin",
    "--datasets",
    "builtin_everyday,builtin_arithmetic",
)


@pytest.fixture
def command(model_home):
    environ = os.environ | {"AVENGERS_HOME": str(model_home), "AVENGERS_OFFLINE": "1"}

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


def test_measure_fit_and_evaluate_run_end_to_end(command, tmp_path):
    pytest.importorskip("sklearn")
    outcomes, table = tmp_path / "o.jsonl", tmp_path / "t.safetensors"
    words = ("measure", *ASKED, "--members", MEMBER, "--limit", 6, "--out", outcomes, "--json")
    facts = json.loads(finished(command(*words)))
    assert facts["n"] == 6
    rows = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6
    assert all(row["tokens"][MEMBER] > 0 and row["seconds"][MEMBER] > 0 for row in rows)
    assert {row["dataset"] for row in rows} == set(ASKED[3].split(","))
    assert facts["members"][MEMBER] == pytest.approx(100 * sum(row["scores"][MEMBER] for row in rows) / 6, abs=0.01)

    assert json.loads(finished(command("fit", "--outcomes", outcomes, "--out", table, "--json")))["n"] == 6
    found = json.loads(finished(command("evaluate", "--table", table, "--outcomes", outcomes, "--json")))
    assert found["micro"]["router"] == pytest.approx(facts["members"][MEMBER], abs=0.01)

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
