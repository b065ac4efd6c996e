"""The `bundle` group: pack, check and unpack what an air-gapped machine needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.completion import complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import json_option, parse_names
from avengers_edge.cli.terminal import PullDisplay, StatusLine, on_terminal
from avengers_edge.errors import BadRequest, VerificationFailed

if TYPE_CHECKING:
    from avengers_edge.library.bundle.archive import Problem
    from avengers_edge.library.bundle.manifest import Bundle
    from avengers_edge.library.bundle.pack import PackOptions
    from avengers_edge.library.bundle.wheels import WheelOptions

    Checked = tuple[tuple[Bundle, ...], dict[str, object], tuple[Problem, ...]]

_PATH = click.Path(path_type=Path)
_key_option = click.option(
    "--key", type=_PATH, metavar="PUBLIC", help="Ed25519 public key (PEM) to verify the signature with."
)


@click.group()
def bundle() -> None:
    """Pack, verify and unpack teams for air-gapped machines."""


@bundle.command()
@click.argument("team", required=False, shell_complete=complete_teams)
@click.option("-o", "--out", type=_PATH, default=".", help="Folder of the archive, or its own path ending in .tar.")
@click.option("--name", help="Name of the bundle (default: the team's).")
@click.option("--wheels", "folder", type=_PATH, metavar="DIR", help="Folder of wheels that pip searches first.")
@click.option("--no-wheels", is_flag=True, help="Leave out the wheels, for machines with the product installed.")
@click.option(
    "--extras",
    callback=parse_names,
    metavar="A,B|none",
    help="Extras to pack wheels for (default: chat,serve,calibrate).",
)
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    metavar="TAG",
    help="Platform of the wheels, e.g. manylinux_2_28_x86_64 (default: this one); repeatable.",
)
@click.option(
    "--python-version", "python", metavar="X.Y", help="Python version of the wheels (default: the running one)."
)
@click.option(
    "--sign-key", type=_PATH, metavar="FILE", help="Ed25519 private key (PEM) to sign with; needs the extra `sign`."
)
@json_option
@pass_session
def pack(
    session: Session,
    team: str | None,
    out: Path,
    name: str | None,
    folder: Path | None,
    no_wheels: bool,
    extras: tuple[str, ...] | None,
    platforms: tuple[str, ...],
    python: str | None,
    sign_key: Path | None,
    as_json: bool,
) -> None:
    """Pack TEAM into NAME.tar, with NAME.install.py beside it.

    \b
    Without TEAM it is the one in use. The archive holds the model files byte for byte, the team's table and manifests,
    the wheels of the product and of all that asking, chatting, serving and calibrating need, an installer, an SBOM,
    licences, and a manifest with the sha256 of every file.

    \b
    Examples:
      avengers bundle pack starter --out /media/stick
      avengers bundle pack starter --sign-key key.pem     (openssl genpkey -algorithm ed25519 -out key.pem)
      avengers bundle pack starter --platform manylinux_2_28_aarch64 --python-version 3.12 --wheels built/

    llama.cpp is compiled for the processor it is built on: for an older one, build its wheel with
    CMAKE_ARGS=-DGGML_NATIVE=OFF and pass its folder with --wheels.

    \b
    On the other machine:
      python3 starter.install.py starter.tar --venv avengers
    """
    from avengers_edge.library.bundle.pack import pack as pack_bundle
    from avengers_edge.library.bundle.wheels import USER_EXTRAS, WheelOptions

    if no_wheels and (folder or extras is not None or platforms or python):
        raise BadRequest("--no-wheels goes with no option about wheels: leave it out, or the others")
    catalog, store = session.open_library()
    settings = session.settings()
    wanted = USER_EXTRAS if extras is None else () if extras == ("none",) else extras
    wheels = None if no_wheels else WheelOptions(wanted, platforms, python or "", folder, settings.offline)
    options = pack_options(team or settings.team, out, name, wheels, sign_key)
    if not on_terminal():
        click.echo(f"{options.name}: packing", err=True)
    with StatusLine() as status:
        packed = pack_bundle(options, catalog, store, progress=PullDisplay(status).progress)
    if as_json:
        paths = {"archive": str(packed.archive), "installer": str(packed.installer), "bytes": packed.bytes}
        click.echo(json.dumps(paths | facts(packed.bundle)))
        return
    click.echo(packed.archive)
    click.echo(
        f"{packed.archive.name}: {human_bytes(packed.bytes)}, {len(packed.bundle.manifest.files)} files; the sha256 of "
        f"its manifest, which stands for all of them, is {packed.bundle.digest}",
        err=True,
    )
    if packed.bundle.manifest.python:
        serves = ", ".join(("ask", *packed.bundle.manifest.extras))
        where = f"Python {packed.bundle.manifest.python} on {', '.join(packed.bundle.manifest.platforms)}"
        click.echo(f"its wheels are for {where}, and serve {serves}", err=True)
    else:
        click.echo("it has no wheels: the other machine must have the product already", err=True)
    sha256 = facts(packed.bundle)["installer_sha256"]
    click.echo(f"{packed.installer.name}: sha256 {sha256}, to be compared where it is run", err=True)


@bundle.command()
@click.argument("archive", type=_PATH, required=False)
@_key_option
@json_option
@pass_session
def verify(session: Session, archive: Path | None, key: Path | None, as_json: bool) -> None:
    """Verify ARCHIVE, or all installed files of bundles.

    The installer beside ARCHIVE is verified with it. The exit code is 4 if a file is bad.

    \b
    Examples:
      avengers bundle verify starter.tar --key operator.pub
      avengers bundle verify --json
    """
    from avengers_edge.library.bundle.signature import load_public_key

    public = load_public_key(key) if key else None
    try:
        bundles, row, problems = check_home(session, public) if archive is None else check_archive(archive, public)
    except VerificationFailed as error:  # before its contents are known
        if as_json:
            listed = [{"path": str(archive), "what": "bad", "why": str(error)}]
            row = {"archive": str(archive), "installer": None}
            click.echo(json.dumps({"ok": False, **row, "bundles": [], "problems": listed}))
        raise
    if as_json:
        listed = [{"path": each.path, "what": each.what, "why": each.why} for each in problems]
        rows = [facts(each, checked=public is not None) for each in bundles]
        click.echo(json.dumps({"ok": not problems, **row, "bundles": rows, "problems": listed}))
    else:
        for problem in problems:
            click.echo(str(problem))
        signed = "its signature is that of the key" if public else "signed: give --key to check by whom"
        for each in () if problems else bundles:
            manifest = each.manifest
            click.echo(
                f"{manifest.name}: ok, {len(manifest.files)} files, {human_bytes(manifest.total_bytes)}, manifest "
                f"{each.digest}, {'not signed' if each.signature is None else signed}"
            )
        if archive is not None and not problems:
            beside = row["installer"]
            click.echo(
                f"{Path(str(beside)).name}: ok, its own installer" if beside else "there is no installer beside it"
            )
    if problems:
        names = ", ".join(problem.path for problem in problems[:5]) + (", …" if problems[5:] else "")
        count = f"{len(problems)} {'files are' if problems[1:] else 'file is'} bad, missing or extra"
        raise VerificationFailed(f"{count}: {names}; do not use {archive or 'this home folder'} as it is")


@bundle.command()
@click.argument("archive", type=_PATH)
@_key_option
@click.option("--replace", is_flag=True, help="Replace existing files of other content.")
@json_option
@pass_session
def unpack(session: Session, archive: Path, key: Path | None, replace: bool, as_json: bool) -> None:
    """Verify ARCHIVE and install its files; a second run resumes.

    \b
    Example:
      avengers bundle unpack starter.tar --key operator.pub
    """
    from avengers_edge.library.bundle.signature import load_public_key
    from avengers_edge.library.bundle.unpack import unpack as unpack_bundle

    public = load_public_key(key) if key else None
    store = session.open_library()[1]
    if not on_terminal():
        click.echo(f"{archive.name}: unpacking", err=True)
    with StatusLine() as status:
        done = unpack_bundle(archive, store, key=public, replace=replace, progress=PullDisplay(status).progress)
    if as_json:
        row = {"name": done.name, "team": done.team, "home": str(store.home)}
        click.echo(json.dumps(row | {"files": done.files, "bytes": done.bytes, "already": done.already}))
        return
    there = f", {done.already} of them were there before" if done.already else ""
    click.echo(
        f"{done.files} files, {human_bytes(done.bytes)}, are in {store.home}{there}: "
        f'avengers ask --team {done.team} "…"',
        err=True,
    )


def pack_options(
    team: str, out: Path, name: str | None, wheels: WheelOptions | None, sign_key: Path | None
) -> PackOptions:
    """Resolve the folder and the name of a bundle."""
    from avengers_edge.library.bundle.manifest import SUFFIX, check_name
    from avengers_edge.library.bundle.pack import PackOptions

    folder = out
    if out.name.endswith(SUFFIX):
        if name is not None:
            raise BadRequest(f"--out {out} names the bundle already: leave out --name, or name a folder")
        folder, name = out.parent, out.name.removesuffix(SUFFIX)
    elif out.name.endswith(".tar.zst"):
        raise BadRequest(f"--out is {out}, and an archive is a plain tar: end its name in {SUFFIX}")
    return PackOptions(team, check_name(name or team), folder, wheels, sign_key)


def check_archive(path: Path, key: bytes | None) -> Checked:
    """Check an archive in full, and the installer beside it; a wrong signature ends it at once."""
    from avengers_edge.library.bundle import archive
    from avengers_edge.library.bundle.manifest import read_manifest
    from avengers_edge.library.bundle.verify import check_installer

    with archive.open_archive(path, read_manifest) as opened, StatusLine() as status:
        if key is not None:
            opened.envelope.require_signature(key, str(path))
        progress = _check_progress(status, path.name)
        total = opened.envelope.manifest.total_bytes
        problems = archive.check_archive(opened, lambda done: progress(done, total))
    installer, problem = check_installer(path, opened.envelope)
    row: dict[str, object] = {"archive": str(path), "installer": None if installer is None else str(installer)}
    return (opened.envelope,), row, (*problems, *filter(None, (problem,)))


def check_home(session: Session, key: bytes | None) -> Checked:
    """Check all files that bundles installed into the home folder."""
    from avengers_edge.library.bundle import verify as verifying

    home = session.settings().home
    with StatusLine() as status:
        bundles, problems = verifying.check_home(home, key, _check_progress(status, str(home)))
    return bundles, {"home": str(home)}, problems


def _check_progress(status: StatusLine, name: str) -> Callable[[int, int], None]:
    """Return a callback that shows how many bytes of how many are checked."""
    from avengers_edge.library.download import PullProgress

    display = PullDisplay(status)
    return lambda done, total: display.progress(PullProgress(name, done, total, "checked"))


def facts(bundle: Bundle, *, checked: bool = False) -> dict[str, object]:
    """Collect the facts of a bundle for `--json`."""
    manifest = bundle.manifest
    signed = "none" if bundle.signature is None else "valid" if checked else "unchecked"
    return {
        "name": manifest.name,
        "team": manifest.team,
        "created": manifest.created,
        "product": manifest.product,
        "platforms": list(manifest.platforms),
        "python": manifest.python,
        "extras": list(manifest.extras),
        "files": len(manifest.files),
        "file_bytes": manifest.total_bytes,
        "manifest_sha256": bundle.digest,
        "installer_sha256": next((file.sha256 for file in manifest.files if file.role == "installer"), None),
        "signature": signed,
    }
