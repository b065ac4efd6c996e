"""Every team that ships with a table can route: the table is of this embedder and knows all the team's members."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from avengers_edge.config import Settings, shipped_dir
from avengers_edge.library.catalog import Catalog
from avengers_edge.routing.features import FeatureEmbedder
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable

CATALOG = Catalog.of(Settings(home=Path("nowhere")))


@pytest.fixture(scope="module")
def embedder() -> FeatureEmbedder:
    """What the shipped embedder says of itself, without loading it."""
    spec = json.loads((shipped_dir() / "embedder" / "embedder.json").read_text(encoding="utf-8"))
    return FeatureEmbedder(SimpleNamespace(fingerprint=spec["fingerprint"], dimension=spec["dimension"]))


@pytest.mark.parametrize("name", ["starter", "open-7b", "avengers-10", "trio", "octet"])
def test_the_table_is_of_this_embedder_and_team(name: str, embedder: FeatureEmbedder) -> None:
    team = CATALOG.load_team(name)
    table = CentroidTable.load(CATALOG.find_table(team), fingerprint=embedder.fingerprint, dimension=embedder.dimension)
    assert sorted(table.header.members) == sorted(member.name for member in team.members)
    ranking = Router(table).route(table.centroids[0]).ranking
    assert len(ranking) == len(team.members)


def test_every_table_that_ships_has_a_card() -> None:
    cards = (shipped_dir() / "tables" / "README.md").read_text(encoding="utf-8")
    for path in (shipped_dir() / "tables").glob("*.safetensors"):
        assert f"\n## {path.stem}\n" in cards


@pytest.mark.parametrize("name", ["avengers-10", "trio", "octet"])
def test_what_was_never_measured_says_so(name: str) -> None:
    path = CATALOG.find_table(CATALOG.load_team(name))
    assert b"prior: accuracies published" in path.read_bytes()
