"""`setup` and the `models` group."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avengers_edge._util.text import counted, human_bytes
from avengers_edge.cli.completion import complete_installed, complete_models, complete_teams
from avengers_edge.cli.session import MachineMemory, Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.cli.terminal import (
    PullDisplay,
    StatusLine,
    confirm,
    fact_lines,
    human_seconds,
    is_interactive,
    on_terminal,
    table_lines,
)
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed

if TYPE_CHECKING:
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.finder import Found
    from avengers_edge.library.manifests import ModelManifest
    from avengers_edge.library.store import Store

_HEAD = ("model", "size", "quant", "memory", "fits", "licence", "verified")
_FACTS = (
    *("id", "installed", "bytes", "file", "parts", "link", "quantization", "memory_bytes", "fits", "licence"),
    *("checked", "verified_at", "untouched", "problem"),
)
"""The fields of a row of `models list --json`."""


@click.command()
@click.argument("team", default="starter", shell_complete=complete_teams)
@click.option("--yes", is_flag=True, help="Download without asking.")
@pass_session
def setup(session: Session, team: str, yes: bool) -> None:
    """Pull and verify the models of TEAM.

    Without TEAM it is starter. Run again, it goes on where it stopped.

    \b
      avengers setup starter --yes
    """
    if "/" in team:  # no team, but a model by its place
        pull_models(session, [team], yes=yes)
        return
    catalog, store = session.open_library()
    chosen = catalog.load_team(team)
    manifests = [catalog.load_model(model) for model in chosen.models]
    missing = [manifest for manifest in manifests if not in_order(manifest, store)]
    if missing and not session.settings().offline:
        size = sum(manifest.total_bytes or 0 for manifest in missing)
        about = f"about {human_bytes(size)}" if all(manifest.bytes for manifest in missing) else "an unknown size"
        if not yes and not is_interactive():
            raise BadRequest(
                f"team {team} needs {counted(len(missing), 'model')} of {about}: say --yes to download them"
            )
        refused = f"nothing was downloaded: run `avengers setup {team}` when you are ready"
        confirm(f"Download {counted(len(missing), 'model')}, {about}?", yes, refused, default=True)
    for manifest in manifests:
        pull_one(session, manifest, store)
    memory = MachineMemory(session.settings())
    note_memory((facts(manifest, store, memory) for manifest in manifests), memory)
    click.echo(f'team {team} is ready: avengers ask --team {team} "…"', err=True)


@click.group()
def models() -> None:
    """Manage the model files in the store."""


@models.command("list")
@json_option
@pass_session
def list_models(session: Session, as_json: bool) -> None:
    """List all known models: size, memory, licence, verification.

    \b
      avengers models list --json
    """
    catalog, store = session.open_library()
    memory = MachineMemory(session.settings())
    rows = [listed(model, catalog, store, memory) for model in catalog.list_models()]
    click.echo(json.dumps(rows) if as_json else "\n".join(list_lines(rows)))


@models.command()
@click.argument("model", shell_complete=complete_models)
@click.option("--template", is_flag=True, help="Print only the chat template of its file.")
@json_option
@pass_session
def show(session: Session, model: str, template: bool, as_json: bool) -> None:
    """Show MODEL: size, memory, licence, hashes, sources.

    \b
      avengers models show smollm2-135m-instruct
      avengers models show smollm2-135m-instruct --template
    """
    catalog, store = session.open_library()
    manifest = catalog.load_model(model)
    if template:
        if as_json:
            raise BadRequest("--template and --json print two things: choose one")
        from avengers_edge.library.gguf import read_header

        letters = read_header(store.find(manifest)).chat_template
        if letters is None:
            raise NotFound(f"model {manifest.id!r} has no chat template: it is a base model")
        shows = (each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in letters)
        click.echo("".join(shows))
        return
    row = shown(manifest, store, MachineMemory(session.settings()))
    if as_json:
        click.echo(json.dumps(row))
        return
    for line in fact_lines(row):
        click.echo(line)


@models.command()
@click.argument("model", nargs=-1, required=True, shell_complete=complete_models)
@click.option("--sha256", metavar="HEX", help="Expected sha256 of a file at an address.")
@click.option("--yes", is_flag=True, help="Download a file without a known sha256 without asking.")
@pass_session
def pull(session: Session, model: tuple[str, ...], sha256: str | None, yes: bool) -> None:
    """Download and verify each MODEL; a second run resumes.

    A MODEL is a name of `avengers models list`, a repository of the Hugging Face hub, a file of it, or an address.
    Without a quantization it is Q4_K_M, or the largest that fits this machine.

    \b
      avengers models pull smollm2-135m-instruct
      avengers models pull bartowski/Qwen2.5-3B-Instruct-GGUF
      avengers models pull hf.co/bartowski/Qwen2.5-3B-Instruct-GGUF:Q6_K
      avengers models pull https://example.org/some-model.gguf --sha256 0123...
    """
    pull_models(session, model, sha256, yes=yes)


def pull_models(session: Session, names: Sequence[str], sha256: str | None = None, *, yes: bool = False) -> None:
    """Pull models by their ids or places; a place gets a manifest."""
    from avengers_edge.library.references import completed, locate, parse_reference

    catalog, store = session.open_library()
    settings = session.settings()
    for name in names:
        try:
            pull_one(session, catalog.load_model(name), store)
            continue
        except NotFound:
            reference = parse_reference(name)
            if reference is None:
                raise
        free = MachineMemory(settings).free
        manifest, why = locate(reference, catalog.manifests(), free=free, offline=settings.offline, sha256=sha256)
        size = f", {human_bytes(manifest.total_bytes)}" if manifest.total_bytes else ""
        click.echo(f"{name}: {manifest.file}{size} ({why})", err=True)
        if manifest.sha256 is None and reference.url is not None:
            confirm(
                "No hash of it is known. Take what the address sends, and hold it to that from now on?",
                yes, "nothing was downloaded: give --sha256", default=False,
            )  # fmt: skip
        path = pull_one(session, manifest, store)
        receipt = store.receipt_of(manifest)
        catalog.add_model(completed(manifest, path, receipt.sha256 if receipt else ""))
        click.echo(f'{manifest.id} is installed: avengers ask --model {manifest.id} "…"', err=True)


@models.command()
@click.argument("folder", nargs=-1, type=click.Path(path_type=Path))
@click.option("--link", is_flag=True, help="Install the files found in place, without a copy.")
@click.option("--only", multiple=True, metavar="NAME", help="Name of a file found; repeatable (default: all).")
@click.option("--yes", is_flag=True, help="Link without asking.")
@json_option
@pass_session
def find(
    session: Session, folder: tuple[Path, ...], link: bool, only: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Find GGUF files of other programs on this machine, or in FOLDER.

    The programs are Ollama, LM Studio, Hugging Face, llama.cpp and others. A linked file stays where it is, and is
    refused once it has changed.

    \b
      avengers models find
      avengers models find --link --only llama3.2:3b
    """
    from avengers_edge.library.finder import find_models

    found = find_models(folder)
    if unknown := sorted(set(only) - {each.name for each in found}):
        raise NotFound(f"nothing called {unknown[0]!r} was found: `avengers models find` lists what was")
    chosen = [each for each in found if not only or each.name in only]
    free = MachineMemory(session.settings()).free
    rows = [
        {
            "name": each.name,
            "program": each.program,
            "path": str(each.path),
            "bytes": each.bytes,
            "quantization": each.quantization,
            "fits": None if free is None else each.bytes * 1.2 <= free,
        }
        for each in chosen
    ]
    if as_json and not link:
        click.echo(json.dumps(rows))
        return
    if not chosen:
        click.echo("no GGUF file was found: name a folder, or `avengers models pull NAME`", err=True)
        return
    if not as_json:
        for line in table_lines([("name", "size", "quant", "fits", "program", "path"), *map(_found_cells, rows)]):
            click.echo(line)
    if not link:
        click.echo("to use them in place: avengers models find --link [--only NAME]", err=True)
        return
    total = human_bytes(sum(each.bytes for each in chosen))
    confirm(f"Link {len(chosen)} files, {total}, which are hashed first?", yes, "nothing was linked", default=True)
    linked = [_linked(session, each) for each in chosen]
    if as_json:
        click.echo(json.dumps([row | {"id": name} for row, name in zip(rows, linked, strict=True)]))


def _found_cells(row: dict[str, Any]) -> tuple[str, ...]:
    fits = {True: "yes", False: "no", None: "-"}[row["fits"]]
    return row["name"], human_bytes(row["bytes"]), row["quantization"] or "?", fits, row["program"], row["path"]


def _linked(session: Session, found: Found) -> str | None:
    """Link one file; return its id, or None where it cannot be used, which is printed."""
    from avengers_edge.library.finder import model_id
    from avengers_edge.library.importing import import_file

    catalog, store = session.open_library()
    try:
        manifest = import_file(store, found.path, catalog, model_id=model_id(found), link=True)
    except AvengersError as error:
        click.echo(f"{found.name}: {error}", err=True)
        return None
    click.echo(f'{found.name}: avengers ask --model {manifest.id} "…"', err=True)
    return manifest.id


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--id", "model_id", help="Name of the model (default: made from the file's name).")
@click.option(
    "--link", is_flag=True, help="Use the file in place instead of a copy; it is refused once it has changed."
)
@json_option
@pass_session
def import_model(session: Session, file: Path, model_id: str | None, link: bool, as_json: bool) -> None:
    """Verify a GGUF FILE and copy it into the store.

    Of a folder all files are imported, of a model in several parts all that belong to the first, which FILE names.

    \b
      avengers models import ~/Downloads/some-model.Q4_K_M.gguf
      avengers models import --link /srv/models/large-00001-of-00003.gguf
    """
    from avengers_edge.library.importing import import_file

    if model_id == "":
        raise BadRequest("--id is empty: write a name, or leave it out")
    catalog, store = session.open_library()
    files = [file]
    if file.is_dir():
        from avengers_edge.library.finder import find_models

        files = [each.path for each in find_models([file])]
        if not files or model_id is not None:
            raise BadRequest("--id names one model, not a folder" if files else f"{file} has no GGUF file")
    rows = []
    for path in files:
        manifest = import_file(store, path, catalog, model_id=model_id, link=link)
        rows.append(shown(manifest, store, MachineMemory(session.settings())))
        click.echo(f'{manifest.id} is installed: avengers ask --model {manifest.id} "…"', err=True)
    if as_json:
        click.echo(json.dumps(rows if file.is_dir() else rows[0]))


@models.command()
@click.argument("model", nargs=-1, shell_complete=complete_installed)
@json_option
@pass_session
def verify(session: Session, model: tuple[str, ...], as_json: bool) -> None:
    """Verify the files of each MODEL, or all; exit code 4 if one is bad.

    \b
      avengers models verify
    """
    catalog, store = session.open_library()
    names = model or tuple(dict.fromkeys(each.model for each in store.installed()))
    rows: list[dict[str, object]] = []
    with StatusLine() as status:

        def complaint_about(name: str) -> str | None:
            try:
                manifest = catalog.load_model(name)
                store.verify(manifest, lambda done: status.show(f"{name}: hashed {human_bytes(done)}"))
            except AvengersError as error:
                if model and not isinstance(error, VerificationFailed):  # named on the command line, so it is raised
                    raise
                return str(error)
            return None

        for name in names:
            complaint = complaint_about(name)
            rows.append({"id": name, "ok": complaint is None, "complaint": complaint})
            if not as_json:
                status.clear()
                click.echo(f"{name}: {complaint or 'ok'}")
    if as_json:
        click.echo(json.dumps(rows))
    if bad := [str(row["id"]) for row in rows if not row["ok"]]:
        raise VerificationFailed(f"{len(bad)} of {len(rows)} files are bad: {', '.join(bad)}; pull them again")


@models.command()
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@json_option
@pass_session
def gc(session: Session, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete unfinished downloads, and what removed models left.

    \b
      avengers models gc --dry-run
    """
    from avengers_edge.library.leftovers import delete, find_leftovers

    catalog, store = session.open_library()
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
    """Delete the files of each MODEL, and an imported one's manifest.

    \b
      avengers models remove smollm2-135m-instruct
    """
    catalog, store = session.open_library()
    for manifest in [catalog.load_model(name) for name in model]:
        freed = 0
        try:
            freed = store.remove(manifest)
        except NotFound:
            if not catalog.forget_model(manifest):
                raise
        catalog.forget_model(manifest)
        click.echo(f"{manifest.id} removed, {human_bytes(freed)} freed", err=True)


def pull_one(session: Session, manifest: ModelManifest, store: Store) -> Path:
    """Pull one model with a status line, and print the result; return its file."""
    from avengers_edge.library.pull import pull as pull_model

    was_there = in_order(manifest, store)
    size = f" {human_bytes(manifest.total_bytes)}" if manifest.total_bytes else ""
    headline = None if was_there or on_terminal() else f"{manifest.id}: pulling{size}"
    start = time.monotonic()
    with StatusLine() as status:
        display = PullDisplay(status, headline)
        path = pull_model(manifest, store, offline=session.settings().offline, progress=display.progress)
    took = "already there" if was_there else f"pulled and verified in {human_seconds(time.monotonic() - start)}"
    click.echo(f"{manifest.id}: {took}", err=True)
    return path


def note_memory(rows: Iterable[dict[str, Any]], memory: MachineMemory) -> None:
    """Print which models do not fit the memory of this machine; they are loaded one at a time."""
    for row in rows:
        if row["fits"] is False:
            need, free = human_bytes(row["memory_bytes"]), human_bytes(memory.free or 0)
            click.echo(
                f"{row['id']} needs {need} of memory and {free} are free: close other programs, set a smaller "
                "`context` in settings.toml, or take a smaller team: `avengers team list` says which fit 8 GB",
                err=True,
            )


def in_order(manifest: ModelManifest, store: Store) -> bool:
    """Return whether the model's file can be used; a damaged one will be pulled again, so it counts as missing."""
    try:
        store.find(manifest)
    except (NotFound, VerificationFailed):
        return False
    return True


def listed(model: str, catalog: Catalog, store: Store, memory: MachineMemory) -> dict[str, Any]:
    """Collect the facts of a list's row; of a manifest that cannot be read, the problem is all that is known."""
    try:
        return facts(catalog.load_model(model), store, memory)
    except AvengersError as error:
        return {**dict.fromkeys(_FACTS), "id": model, "installed": False, "problem": str(error)}


def facts(manifest: ModelManifest, store: Store, memory: MachineMemory) -> dict[str, Any]:
    """Collect the facts of a model, sizes in bytes; those that only its file has are None where it is not installed."""
    from avengers_edge.library.gguf import quantization_in

    size, receipt = store.size_of(manifest), store.receipt_of(manifest)
    installed, problem, fit = size is not None, None, None
    if installed:
        try:
            fit = memory.fit(store.path_of(manifest))
        except AvengersError as error:
            problem = str(error)
    return {
        "id": manifest.id,
        "installed": installed,
        "bytes": size if installed else manifest.total_bytes,
        "file": manifest.file,
        "parts": len(manifest.parts) + 1,
        "link": receipt.link if receipt else None,
        "quantization": (fit.quantization if fit else None) or quantization_in(manifest.file),
        "memory_bytes": fit.total if fit else None,
        "fits": fit.fits if fit else None,
        "licence": manifest.licence,
        "checked": manifest.checked,
        "verified_at": receipt.verified_at if receipt and installed else None,
        "untouched": receipt.untouched(store.path_of(manifest)) if receipt and installed else None,
        "problem": problem,
    }


def shown(manifest: ModelManifest, store: Store, memory: MachineMemory) -> dict[str, Any]:
    """Collect the facts of `models show`: those of the list, hashes, path and sources."""
    receipt = store.receipt_of(manifest)
    return facts(manifest, store, memory) | {
        "sha256": manifest.sha256 or (receipt.sha256 if receipt else None),
        "context_length": manifest.context_length,
        "path": str(store.path_of(manifest)),
        "chat_template_sha256": manifest.chat_template_sha256 or (receipt.chat_template_sha256 if receipt else None),
        "chat_template_pinned": manifest.chat_template_sha256 is not None,
        "sources": [source_line(source) for source in manifest.sources],
    }


def list_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write a list of models, one a line; of a row with a problem only that."""
    head, *good = table_lines([_HEAD, *(_cells(row) for row in rows if not row["problem"])])
    lines = iter(good)
    return [head, *(f"{row['id']}  problem  {row['problem']}" if row["problem"] else next(lines) for row in rows)]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    fits = {True: "yes", False: "no", None: "-"}[row["fits"]]
    verified = (row["verified_at"] or "")[:10] or ("never" if row["installed"] else "not installed")
    if row["untouched"] is False:
        verified = "changed since"
    return (
        row["id"],
        "?" if row["bytes"] is None else human_bytes(row["bytes"]),
        row["quantization"] or "?",
        "-" if row["memory_bytes"] is None else human_bytes(row["memory_bytes"]),
        fits,
        row["licence"],
        f"{verified}, in place" if row["link"] else verified,
    )


def source_line(source: object) -> str:
    """Write a source in a few words."""
    from avengers_edge.library.manifests import HubSource, PathSource, PypiSource, UrlSource

    match source:
        case PypiSource(slices=slices):
            first = f"{slices[0].package} {slices[0].version}"
            return f"package index: {first}" + (f" and {len(slices) - 1} more slices" if len(slices) > 1 else "")
        case HubSource(repository=repository, file=file):
            return f"Hugging Face: {repository} {file}"
        case UrlSource(url=place) | PathSource(path=place):
            return str(place)
    raise AvengersError(f"unknown kind of source: {source!r}")
