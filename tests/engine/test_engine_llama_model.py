"""Laws of the handles that need no model."""

from __future__ import annotations

import logging

import pytest

from avengers_edge.engine.llama_context import NativeLog
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.errors import BadRequest


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
