"""Laws of the deadline: code that never lets go of the interpreter ends with its process, and the reason is told."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from avengers_edge.engine.deadline import template_deadline
from avengers_edge.engine.last_words import LastWords

STUCK = """
from avengers_edge.engine.deadline import template_deadline
def deep():
    x, y = ["x"], ["x"]
    for _ in range(60): x, y = [x, x], [y, y]
    return x == y
with template_deadline(0.3):
    deep()
print("never")
"""


def test_a_comparison_that_would_last_for_ages_ends_its_process_and_says_why():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (1, b"")
    words = LastWords()
    words.listen(io.BytesIO(done.stderr + b"more\n" * 100))
    assert words.reason() == ": its chat template takes too long, so take another model"


def test_what_ends_in_time_is_not_bothered():
    code = "from avengers_edge.engine.deadline import template_deadline as limit\nimport time\n"
    code += "with limit(1): pass\ntime.sleep(1.5); print('well')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == (b"well", b"")


@pytest.mark.parametrize("said", [b"Timeout of the server\n", b"File x, Timeout (0:00:10)! no\n"])
def test_other_timeouts_are_not_taken_for_the_templates(said):
    words = LastWords()
    words.listen(io.BytesIO(said))
    assert words.reason() == ""


def test_the_worker_uses_it(monkeypatch, tmp_path):
    from avengers_edge.engine import llama, worker

    seen = {}
    monkeypatch.setattr(llama, "LlamaEngine", lambda path, options, **given: seen.update(given))
    worker.make_llama(tmp_path, None, None, lambda: None)
    assert seen["deadline"] is template_deadline
