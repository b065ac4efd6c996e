"""Laws of the handles that need no model."""

from __future__ import annotations

import logging

import pytest

from avengers_edge.engine import memory
from avengers_edge.engine.backend import NativeLog
from avengers_edge.engine.memory import available_bytes, require_memory
from avengers_edge.engine.native import LoadOptions
from avengers_edge.errors import BadRequest, DoesNotFit


@pytest.mark.parametrize(("level", "logged"), [(1, "DEBUG"), (2, "INFO"), (3, "WARNING"), (4, "ERROR")])
def test_llama_cpps_levels_are_ours(caplog, level, logged):
    with caplog.at_level(logging.DEBUG, "avengers_edge.llama"):
        NativeLog()._write(level, b"something happened\n", None)
    assert [record.levelname for record in caplog.records] == [logged]


def test_the_last_complaint_is_the_reason_and_chatter_is_not():
    log = NativeLog()
    assert "no reason" in log.reason()
    log._write(4, b"cannot map the file\n", None)
    log._write(2, b"something else\n", None)
    log._write(5, b"...", None)
    assert log.reason() == "cannot map the file"


@pytest.mark.parametrize("values", [{"sequences": 1}, {"sequences": 257}, {"cells": 8}, {"threads": 0}])
def test_options_that_llama_cpp_would_abort_on_are_refused(values):
    with pytest.raises(BadRequest):
        LoadOptions(**values)


def test_a_model_that_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2_000_000_000)
    require_memory("small", 1_900_000_000)
    with pytest.raises(DoesNotFit, match=r"5.0 GB of memory and 2.0 GB are free"):
        require_memory("large", 5_000_000_000)


def test_where_the_system_does_not_say_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    require_memory("large", 10**18)


def test_free_memory_is_read_from_the_system(monkeypatch, tmp_path):
    said = tmp_path / "meminfo"
    said.write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", said)
    assert available_bytes() == 7 * 1024
