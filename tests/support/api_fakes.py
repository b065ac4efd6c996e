"""A team as applications embed it, on an engine that a reader can compute by hand."""

from __future__ import annotations

import contextlib
import dataclasses

from fakes import Lengths, WordEngine, WordLengthEmbedder
from homes import linked_home

from avengers_edge.api.sync import Avengers
from avengers_edge.config import Settings, shipped_dir
from avengers_edge.engine.protocol import RequestHandle
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Completion, Generation, Member, Ranked, Route, Team
from avengers_edge.routing.table import CentroidTable
from avengers_edge.runtime import Avengers as Runtime

SUM = "How many apples are 2 and 3 apples?"
TALE = "Tell me a tale"
PAIR = Team("pair", "two models", (Member("big"), Member("small")), "t", samples=3, switch_below=0.0)
ROUTE = Route(1, 0.5, (Ranked("big", 0.8), Ranked("small", 0.4)), 0.4)


class Endless:
    """Waits as a request of a loaded model does until it is cancelled."""

    def generate(self, request, *, on_finish=None, on_token=None, cancel=None):
        said = Generation((Completion(0, 0, "Once", 1, "cancelled"),), 5, 1.0, 2.0)
        handle = RequestHandle(lambda: handle.future.done() or handle.future.set_result(said))
        return handle.result(cancel)


class Ranks:
    """Ranks the big model first."""

    def route(self, vector, *, members, prefer, resident):
        return ROUTE


class Embedding:
    """A team and what it stands on: `Embedding("Answer: 5").team`."""

    def __init__(self, *texts, face=Avengers, engine=None, resident=(), lease=None):
        self.engine = engine or WordEngine(list(texts) or ["Answer: 5"])
        self.leased, self.freed = [], 0
        runtime = Runtime(
            PAIR, WordLengthEmbedder, lambda _: Ranks(), lease or self.lease, self.free, lambda: tuple(resident)
        )
        self.team = face(runtime, Lengths)

    @contextlib.contextmanager
    def lease(self, model):
        self.leased.append(model)
        yield self.engine

    def free(self):
        self.freed += 1


SOLO = """
name = "solo"
description = "the small model"
table = "solo.safetensors"
[defaults]
samples = 3
max_tokens = 24
[[members]]
model = "smollm2-135m-instruct"
mode = "direct"
"""


def solo_table(home):
    """The starter table's clusters, with the small model as their one member."""
    with open_shipped_embedder(Settings(home=home)) as embedder:
        path = shipped_dir() / "tables" / "starter.safetensors"
        whole = CentroidTable.load(path, fingerprint=embedder.fingerprint)
    name = "smollm2-135m-instruct:direct"
    header = dataclasses.replace(whole.header, members=(name,), macro=whole.header.macro[:1], best_single=name)
    return CentroidTable(
        header, whole.centroids, whole.accuracy[:, :1], whole.counts[:, :1], whole.kinds, samples=whole.samples
    )


def solo_home(model_home, folder):
    """Make a home whose default team is the real 135M model alone; its files are shared with `model_home`."""
    (linked_home(model_home, folder) / "tables").mkdir()
    solo_table(folder).save(folder / "tables" / "solo.safetensors")
    (folder / "teams").mkdir()
    (folder / "teams" / "solo.toml").write_text(SOLO, encoding="utf-8")
    (folder / "settings.toml").write_text('team = "solo"\n', encoding="utf-8")
    return folder
