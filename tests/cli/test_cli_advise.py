"""Laws of `advise`: the most capable team that fits and is quick, by sizes that are known or estimated."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from avengers_edge.cli import advise_command
from avengers_edge.cli.root_command import cli
from avengers_edge.cli.session import MachineMemory
from avengers_edge.config import shipped_dir
from avengers_edge.library.catalog import Catalog

GIB = 2**30


@pytest.fixture
def advise(home, monkeypatch):
    def invoke(free, bandwidth, *words, device=None):
        monkeypatch.setattr(MachineMemory, "free", free)
        monkeypatch.setattr(MachineMemory, "device", device)
        monkeypatch.setattr(advise_command, "measured_bandwidth", lambda: bandwidth)
        return CliRunner().invoke(cli, ["advise", *words])

    return invoke


@pytest.mark.parametrize(
    ("free", "bandwidth", "team"),
    [
        (4 * GIB, 100e9, "pocket"),
        (2 * GIB, 100e9, "starter"),
        (32 * GIB, 100e9, "octet"),
        (32 * GIB, 20e9, "pocket" if 20e9 / 2.46e9 >= 8 else "starter"),
        (32 * GIB, 1e9, "starter"),  # none is quick: the smallest
        (None, 100e9, "octet"),
    ],
)
def test_the_most_capable_team_that_fits_and_is_quick_is_advised(advise, free, bandwidth, team):
    said = json.loads(advise(free, bandwidth, "--json").stdout)
    assert said["advised"] == team
    assert {each["team"] for each in said["teams"]} >= {"starter", "trio", "octet", "pocket"}


def test_where_nothing_fits_it_says_what_to_do(advise):
    result = advise(2**20, 1e9)
    assert (result.exit_code, "no shipped team fits" in result.stderr) == (0, True)
    assert json.loads(advise(2**20, 1e9, "--json").stdout)["advised"] is None


def test_a_line_for_people_has_size_speed_and_what_to_run(advise):
    result = advise(4 * GIB, 100e9)
    assert "pocket" in result.stdout and "tokens/s" in result.stdout
    assert "avengers advise --yes" in result.stderr


def test_the_size_of_every_shipped_model_is_known_or_estimated():
    catalog = Catalog(shipped_dir())
    for name, manifest in catalog.manifests().items():
        assert manifest.about_bytes, name


def test_memory_is_read_at_some_speed():
    assert advise_command.measured_bandwidth() > 1e8
