"""`setup` and the `models` group."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.asking import asks, confirm
from avengers_edge.cli.fact_lines import fact_lines
from avengers_edge.cli.fitting import Fitting
from avengers_edge.cli.library import PullDisplay, open_library
from avengers_edge.cli.model_facts import list_lines, listed, shown, template_of
from avengers_edge.cli.names import complete_installed, complete_models, complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.terminal import StatusLine, human_seconds, on_terminal
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed

if TYPE_CHECKING:
    from avengers_edge.library.manifests import ModelManifest
    from avengers_edge.library.store import Store


@click.command()
@click.argument("team", default="starter", shell_complete=complete_teams)
@click.option("--yes", is_flag=True, help="Do not ask before downloading.")
@pass_session
def setup(session: Session, team: str, yes: bool) -> None:
    """Pull and verify the models of TEAM (default: starter); resumes where it stopped.

    \b
      avengers setup starter --yes
    """
    catalog, store = open_library(session)
    chosen = catalog.load_team(team)
    manifests = [catalog.load_model(model) for model in chosen.models]
    missing = [manifest for manifest in manifests if not in_order(manifest, store)]
    if missing and not session.settings().offline:
        size = sum(manifest.total_bytes or 0 for manifest in missing)
        about = f"about {human_bytes(size)}" if all(manifest.bytes for manifest in missing) else "an unknown size"
        if not yes and not asks():
            raise BadRequest(f"team {team} needs {len(missing)} models of {about}: say --yes to download them")
        refused = f"nothing was downloaded: run `avengers setup {team}` when you are ready"
        confirm(f"Download {len(missing)} models, {about}?", yes, refused, default=True)
    for manifest in manifests:
        pull_one(session, manifest, store)
    _note_memory(manifests, store, Fitting(session.settings()))
    click.echo(f'team {team} is ready: avengers ask --team {team} "…"', err=True)


@click.group()
def models() -> None:
    """Manage the model files in the store."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@pass_session
def list_models(session: Session, as_json: bool) -> None:
    """List all known models: size, quantization, memory that they need, whether that fits, licence, last verified.

    \b
      avengers models list --json
    """
    catalog, store = open_library(session)
    fitting = Fitting(session.settings())
    rows = [listed(model, catalog, store, fitting) for model in catalog.list_models()]
    click.echo(json.dumps(rows) if as_json else "\n".join(list_lines(rows)))


@models.command()
@click.argument("model", shell_complete=complete_models)
@click.option("--template", is_flag=True, help="Print the chat template of its file, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def show(session: Session, model: str, template: bool, as_json: bool) -> None:
    """Show what is known of MODEL and where it would come from.

    \b
      avengers models show smollm2-135m-instruct
      avengers models show smollm2-135m-instruct --template
    """
    catalog, store = open_library(session)
    manifest = catalog.load_model(model)
    if template:
        if as_json:
            raise BadRequest("--template and --json print two things: choose one")
        click.echo(template_of(manifest, store))
        return
    row = shown(manifest, store, Fitting(session.settings()))
    if as_json:
        click.echo(json.dumps(row))
        return
    for line in fact_lines(row):
        click.echo(line)


@models.command()
@click.argument("model", nargs=-1, required=True, shell_complete=complete_models)
@pass_session
def pull(session: Session, model: tuple[str, ...]) -> None:
    """Download and verify each MODEL; resumes where it stopped.

    \b
      avengers models pull smollm2-135m-instruct
    """
    catalog, store = open_library(session)
    for manifest in [catalog.load_model(name) for name in model]:
        pull_one(session, manifest, store)


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--id", "model_id", help="The model's name; by default it follows from the file's.")
@click.option("--link", is_flag=True, help="Use the file where it lies, without a copy; refused once it has changed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def import_model(session: Session, file: Path, model_id: str | None, link: bool, as_json: bool) -> None:
    """Check a GGUF FILE and copy it into the store. Of a model in several parts, name the first.

    \b
      avengers models import ~/Downloads/some-model.Q4_K_M.gguf
      avengers models import --link /srv/models/large-00001-of-00003.gguf
    """
    from avengers_edge.library.importing import import_file

    if model_id == "":
        raise BadRequest("--id is empty: write a name, or leave it out")
    catalog, store = open_library(session)
    manifest = import_file(store, file, catalog, model_id=model_id, link=link)
    if as_json:
        click.echo(json.dumps(shown(manifest, store, Fitting(session.settings()))))
    click.echo(f'{manifest.id} is installed: avengers ask --model {manifest.id} "…"', err=True)


@models.command()
@click.argument("model", nargs=-1, shell_complete=complete_installed)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@pass_session
def verify(session: Session, model: tuple[str, ...], as_json: bool) -> None:
    """Hash installed files again, each MODEL or all of them; exit code 4 if one is bad.

    \b
      avengers models verify
    """
    catalog, store = open_library(session)
    names = model or tuple(dict.fromkeys(each.model for each in store.installed()))
    rows: list[dict[str, object]] = []
    with StatusLine() as status:
        for name in names:
            try:
                complaint = verify_one(catalog.load_model(name), store, status)
            except AvengersError as error:
                if model:  # what was asked for by name ends with its own exit code
                    raise
                complaint = str(error)
            rows.append({"id": name, "ok": complaint is None, "complaint": complaint})
            if not as_json:
                status.clear()
                click.echo(f"{name}: {complaint or 'ok'}")
    if as_json:
        click.echo(json.dumps(rows))
    if bad := [str(row["id"]) for row in rows if not row["ok"]]:
        raise VerificationFailed(f"{len(bad)} of {len(rows)} files are bad: {', '.join(bad)}; pull them again")


@models.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@pass_session
def gc(session: Session, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete what nobody needs: unfinished downloads, measurements and files of models that are gone.

    \b
      avengers models gc --dry-run
    """
    from avengers_edge.library.leftovers import delete, find_leftovers

    catalog, store = open_library(session)
    found = find_leftovers(store, catalog)
    total = human_bytes(sum(each.bytes for each in found))
    if as_json:
        click.echo(json.dumps([{"path": str(each.path), "bytes": each.bytes, "why": each.why} for each in found]))
    else:
        for each in found:
            click.echo(f"{human_bytes(each.bytes):>8}  {each.path}: {each.why}")
    if not found or dry_run:
        click.echo(f"{len(found)} leftovers, {total}" if found else "there is nothing to delete", err=True)
        return
    confirm(f"Delete {len(found)} leftovers, {total}?", yes, "nothing was deleted", default=False)
    for each in found:
        delete(each, store.home)
    click.echo(f"{len(found)} leftovers deleted, {total} freed", err=True)


@models.command()
@click.argument("model", nargs=-1, required=True, shell_complete=complete_installed)
@pass_session
def remove(session: Session, model: tuple[str, ...]) -> None:
    """Delete the files of each MODEL; one that was imported is forgotten as well.

    \b
      avengers models remove smollm2-135m-instruct
    """
    catalog, store = open_library(session)
    for manifest in [catalog.load_model(name) for name in model]:
        freed = 0
        try:
            freed = store.remove(manifest)
        except NotFound:
            if not catalog.forget_model(manifest):
                raise
        catalog.forget_model(manifest)
        click.echo(f"{manifest.id} removed, {human_bytes(freed)} freed", err=True)


def pull_one(session: Session, manifest: ModelManifest, store: Store) -> None:
    """Pull one model with a status line, and say what came of it."""
    from avengers_edge.library.pull import pull as pull_model

    was_there = in_order(manifest, store)
    size = f" {human_bytes(manifest.total_bytes)}" if manifest.total_bytes else ""
    headline = None if was_there or on_terminal() else f"{manifest.id}: pulling{size}"
    start = time.monotonic()
    with StatusLine() as status:
        display = PullDisplay(status, headline)
        pull_model(manifest, store, offline=session.settings().offline, progress=display.progress)
    took = "already there" if was_there else f"pulled and verified in {human_seconds(time.monotonic() - start)}"
    click.echo(f"{manifest.id}: {took}", err=True)


def _note_memory(manifests: Sequence[ModelManifest], store: Store, fitting: Fitting) -> None:
    """Say which models do not fit into this machine's memory; they are loaded one at a time."""
    for manifest in manifests:
        fit = None
        with contextlib.suppress(AvengersError):  # a file that has no usable header says so when it is loaded
            fit = fitting.fit(store.path_of(manifest))
        if fit is not None and fit.fits is False:
            need, free = human_bytes(fit.host), human_bytes(fit.free or 0)
            click.echo(
                f"{manifest.id} needs {need} of memory and {free} are free: close other programs, set a smaller "
                "`context` in settings.toml, or take a smaller team: `avengers team list` says which fit 8 GB",
                err=True,
            )


def in_order(manifest: ModelManifest, store: Store) -> bool:
    """Tell whether the model's file can be used; a damaged one will be pulled again, so it counts as missing."""
    try:
        store.find(manifest)
    except (NotFound, VerificationFailed):
        return False
    return True


def verify_one(manifest: ModelManifest, store: Store, status: StatusLine) -> str | None:
    """Verify one installed model; give the complaint, or None."""

    def heard(done: int) -> None:
        status.show(f"{manifest.id}: hashed {human_bytes(done)}")

    try:
        store.verify(manifest, heard)
    except VerificationFailed as error:
        return str(error)
    return None
