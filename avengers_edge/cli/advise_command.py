"""`advise`: which team suits this machine's memory and accelerator, and about how fast it will be."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.session import MachineMemory, Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.cli.terminal import table_lines

if TYPE_CHECKING:
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.store import Store
    from avengers_edge.records import Team

_PREFERRED = ("octet", "trio", "pocket", "starter")
"""Shipped teams, the one with the highest accuracy first; advised is the first that fits and is quick."""

_BESIDE_WEIGHTS = 1.25
"""A loaded model takes its weights, a KV cache and buffers: a quarter more, before its header is known."""

_QUICK = 8.0
"""Tokens a second, as fast as people read; who thinks before the answer writes a thousand and more."""

_COPIED_BYTES = 2**26
_COPIES = 3


@dataclass(frozen=True, slots=True)
class Advice:
    """A team on this machine: bytes of all its files and of the largest, which has to fit; tokens a second of that."""

    team: str
    description: str
    download: int
    largest: int
    fits: bool | None
    tokens_per_second: float | None
    ready: bool


@click.command()
@click.option("--yes", is_flag=True, help="Set up the team that is advised, and make it the default.")
@json_option
@pass_session
def advise(session: Session, yes: bool, as_json: bool) -> None:
    """Advise which team suits this machine: memory and speed.

    Models of a team are loaded one at a time, so that the largest has to fit. Speed is estimated from the bandwidth of
    main memory, which each token reads the weights through once; a GPU is quicker.

    \b
      avengers advise
      avengers advise --yes
    """
    catalog, store = session.open_library()
    memory = MachineMemory(session.settings())
    device = memory.device
    room = memory.free if device is None or device.unified else max(memory.free or 0, device.free)
    bandwidth = measured_bandwidth() if device is None else None
    rows = [
        advice
        for name in catalog.list_teams()
        if (advice := _advice(catalog.load_team(name), catalog, store, room, bandwidth)) is not None
    ]
    rows.sort(key=lambda each: (_rank(each.team), each.team))
    fitting = [each for each in rows if each.fits is not False and each.team in _PREFERRED]
    quick = [each for each in fitting if each.tokens_per_second is None or each.tokens_per_second >= _QUICK]
    best = next(iter([*quick, *reversed(fitting)]), None)
    if as_json:
        values = {"advised": best and best.team, "free_bytes": room, "teams": [_plain(each) for each in rows]}
        click.echo(json.dumps(values))
    else:
        where = "on the GPU" if device is not None and not device.unified else "of memory"
        click.echo(f"{human_bytes(room or 0)} {where} are free", err=True)
        for line in table_lines([("team", "download", "memory", "fits", "speed", "what it is"), *map(_cells, rows)]):
            click.echo(line)
    if best is None:
        click.echo(
            "no shipped team fits: close other programs, or pull a smaller model with `avengers models pull`", err=True
        )
        return
    if not yes:
        click.echo(f"advised: {best.team}; `avengers advise --yes` sets it up", err=True)
        return
    from avengers_edge.cli.models_command import pull_one
    from avengers_edge.teams import Teams

    for model in catalog.load_team(best.team).models:
        pull_one(session, catalog.load_model(model), store)
    Teams(session.settings()).use(best.team)
    click.echo(f'team {best.team} is the default team now: avengers ask "…"', err=True)


def measured_bandwidth() -> float:
    """Measure the bytes a second that main memory is read at: the best of three copies of 64 MiB, read and written."""
    import numpy as np

    source = np.ones(_COPIED_BYTES, dtype=np.uint8)
    target = np.empty_like(source)
    best = 0.0
    for _ in range(_COPIES):
        begin = time.perf_counter()
        np.copyto(target, source)
        best = max(best, 2 * _COPIED_BYTES / (time.perf_counter() - begin))
    return best


def _advice(team: Team, catalog: Catalog, store: Store, room: int | None, bandwidth: float | None) -> Advice | None:
    """Weigh a team; None where the size of one of its files is not known at all."""
    manifests = [catalog.load_model(model) for model in team.models]
    sizes = [store.size_of(manifest) or manifest.about_bytes for manifest in manifests]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    largest = max(known)
    return Advice(
        team.name,
        team.description,
        sum(known),
        round(largest * _BESIDE_WEIGHTS),
        None if room is None else largest * _BESIDE_WEIGHTS <= room,
        None if bandwidth is None else bandwidth / largest,
        all(store.size_of(manifest) is not None for manifest in manifests),
    )


def _rank(team: str) -> int:
    return _PREFERRED.index(team) if team in _PREFERRED else len(_PREFERRED)


def _plain(each: Advice) -> dict[str, Any]:
    return {
        "team": each.team,
        "download_bytes": each.download,
        "memory_bytes": each.largest,
        "fits": each.fits,
        "tokens_per_second": each.tokens_per_second and round(each.tokens_per_second, 1),
        "ready": each.ready,
    }


def _cells(each: Advice) -> tuple[str, ...]:
    fits = {True: "yes", False: "no", None: "-"}[each.fits]
    speed = "-" if each.tokens_per_second is None else f"≤ {each.tokens_per_second:.0f} tokens/s"
    download = "is here" if each.ready else human_bytes(each.download)
    return each.team, download, human_bytes(each.largest), fits, speed, each.description
