"""The soak's judgement of what a server held, without a server."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module("soak_server")


def test_whatever_grows_is_a_leak_and_what_measuring_varies_by_is_none(soak):
    before = soak.State(server=100.0, workers=500.0, threads=20, files=30, under_way=0)
    for field in dataclasses.fields(before):
        allowed = soak.ALLOWED[field.name]
        same = dataclasses.replace(before, **{field.name: getattr(before, field.name) + allowed})
        assert same.grown(since=before) == []
        more = dataclasses.replace(before, **{field.name: getattr(before, field.name) + allowed + 1})
        (leak,) = more.grown(since=before)
        assert leak.startswith(f"{field.name} grew from ")
    assert before.grown(since=same) == []


def test_the_last_request_is_as_wide_as_a_model_is_loaded(soak):
    assert soak.WIDEST == 63
