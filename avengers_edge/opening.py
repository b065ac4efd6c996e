"""From the settings to what the main path is made of: embedder, router, models.

Each function imports what it opens: a question is routed without the engine, and its table checked without the models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avengers_edge.config import Settings, shipped_dir
from avengers_edge.library.catalog import Catalog
from avengers_edge.records import Embedder, Team

if TYPE_CHECKING:
    from avengers_edge.engine.model_pool import ModelPool
    from avengers_edge.library.estimate import MemoryNeed
    from avengers_edge.routing.embedder import OnnxEmbedder
    from avengers_edge.routing.features import FeatureEmbedder
    from avengers_edge.routing.router import Router
    from avengers_edge.sandbox.programs import ProgramRunner, SandboxJudge

_EMBEDDER_THREADS = 4  # a short question gains nothing from more, and the language model wants the cores next


def open_model_pool(settings: Settings) -> ModelPool:
    """Make the installed models of the settings' home folder ready to be lent."""
    from avengers_edge.engine.loader import load_options
    from avengers_edge.engine.model_pool import ModelPool
    from avengers_edge.library.estimate import estimate
    from avengers_edge.library.gguf import read_header
    from avengers_edge.library.store import Store

    catalog, store = Catalog.of(settings), Store(settings.home)

    def path_of(model: str) -> Path:
        return store.find(catalog.load_model(model))

    def need_of(path: Path) -> MemoryNeed:
        sequences = load_options(settings, settings.gpu_layers).sequences
        return estimate(read_header(path), settings.kv_type, sequences)

    return ModelPool(path_of, need_of, settings)


def open_shipped_embedder(settings: Settings, *, few: bool = False) -> FeatureEmbedder:
    """Open what turns questions, or only a few of them, into vectors: the sentence embedder and surface features."""
    from avengers_edge.routing.features import FeatureEmbedder

    return FeatureEmbedder(open_sentence_embedder(settings, few=few))


def open_sentence_embedder(settings: Settings, *, few: bool = False) -> OnnxEmbedder:
    """Open the shipped sentence embedder by itself."""
    from avengers_edge.engine.devices import usable_cores
    from avengers_edge.routing.embedder import OnnxEmbedder

    threads = settings.threads or min(_EMBEDDER_THREADS, usable_cores())
    return OnnxEmbedder(shipped_dir() / "embedder", settings.providers, threads, few=few)


def open_router(catalog: Catalog, team: Team, embedder: Embedder) -> Router | None:
    """Open a team's table; None where it has none.

    Raises:
        NotFound: the table is not there.
        VerificationFailed: it is damaged, or was fitted with another embedder.

    """
    if team.table is None:
        return None
    from avengers_edge.routing.router import Router
    from avengers_edge.routing.table import CentroidTable

    path = catalog.find_table(team)
    return Router(CentroidTable.load(path, fingerprint=embedder.fingerprint, dimension=embedder.dimension))


def open_judge() -> SandboxJudge:
    """Make what runs code that members wrote; the sandbox is found when it is first needed."""
    from avengers_edge.sandbox.programs import SandboxJudge

    return SandboxJudge()


def open_programs() -> ProgramRunner:
    """Make what runs the programs of members that answer by one."""
    from avengers_edge.sandbox.programs import ProgramRunner

    return ProgramRunner()


def takes_tools(settings: Settings, model: str) -> bool:
    """Return whether an installed model's chat template has a place for tools.

    Raises:
        NotFound: the model is not installed.

    """
    from avengers_edge.engine.tool_calls import form_of
    from avengers_edge.library.gguf import read_header
    from avengers_edge.library.store import Store

    path = Store(settings.home).find(Catalog.of(settings).load_model(model))
    return form_of(read_header(path).chat_template) is not None
