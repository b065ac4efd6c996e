"""`doctor`: will the main job work here, and if not, what mends it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator

import click

from avengers_edge.cli.models import open_library
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.errors import AvengersError
from avengers_edge.library.files import human_bytes

_PACKAGES = ("llama-cpp-python", "onnxruntime", "tokenizers", "numpy", "safetensors", "jinja2", "click")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is None where all is well."""

    what: str
    found: str
    remedy: str | None = None


@click.command()
@click.option("--team", help="The team that should be ready.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def doctor(session: Session, team: str | None, as_json: bool) -> None:
    """Check this machine and installation; exit code 0 only when asking will work."""
    findings = [finding for check in checks(session, team) for finding in attempt(check)]
    bad = [finding for finding in findings if finding.remedy]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "findings": [dataclasses.asdict(each) for each in findings]}))
    else:
        for each in findings:
            click.echo(f"{'!!' if each.remedy else 'ok'}  {each.what}: {each.found}")
            if each.remedy:
                click.echo(f"    {each.remedy}")
    if bad:
        raise AvengersError(f"{len(bad)} of {len(findings)} checks need attention: {', '.join(e.what for e in bad)}")


Check = Callable[[], Iterator[Finding]]


def checks(session: Session, team: str | None) -> list[Check]:
    """Line up all checks, cheap ones first."""
    return [
        check_python,
        lambda: check_home(session),
        lambda: check_team(session, team),
        lambda: check_routing(session, team),
        lambda: check_engine(session),
    ]


def attempt(check: Check) -> list[Finding]:
    """Run a check; what goes wrong in it is its finding."""
    try:
        return list(check())
    except AvengersError as error:
        return [Finding("problem", type(error).__name__, str(error))]
    except (ImportError, OSError) as error:
        return [Finding("problem", f"{type(error).__name__}: {error}", "install avengers-edge again")]


def check_python() -> Iterator[Finding]:
    """Look at Python and the packages."""
    from avengers_edge.engine.cores import usable_cores

    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("cores", str(usable_cores()))
    for package in _PACKAGES:
        yield Finding(package, importlib.metadata.version(package))


def check_home(session: Session) -> Iterator[Finding]:
    """Look at the home folder: can it be written, is there room."""
    home = session.settings().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    remedy = None
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = f"cannot write there ({error.strerror}): choose another with --home or AVENGERS_HOME"
    yield Finding("home", str(home), remedy)
    yield Finding("free disk", human_bytes(shutil.disk_usage(existing).free))


def check_team(session: Session, team: str | None) -> Iterator[Finding]:
    """Look at the team's models and its table."""
    catalog, store = open_library(session)
    chosen = catalog.load_team(team or session.settings().team)
    for model in chosen.models:
        try:
            yield Finding(model, f"verified, {human_bytes(store.find(catalog.load_model(model)).stat().st_size)}")
        except AvengersError as error:
            yield Finding(model, "not usable", str(error))
    if chosen.table is not None:
        yield Finding("table", str(catalog.find_table(chosen)))


def check_routing(session: Session, team: str | None) -> Iterator[Finding]:
    """Open the embedder, and the table with it."""
    from avengers_edge.runtime import Avengers

    settings = session.settings()
    with contextlib.closing(Avengers.open(settings, team)) as avengers:
        route = avengers.route("What is 2 + 2?")
    yield Finding("routing", f"works, {len(route.ranking)} members ranked by {settings.providers[0]}")


def check_engine(session: Session) -> Iterator[Finding]:
    """Load llama.cpp and read what it was built with."""
    from avengers_edge.engine.backend import build_facts

    build = build_facts()
    yield Finding("llama.cpp", str(build["features"]))
    layers = session.settings().gpu_layers
    if not build["gpu_offload"]:
        yield Finding("gpu", "this build of llama.cpp uses the CPU only")
    else:
        yield Finding("gpu", f"the build can offload; gpu_layers is {'all' if layers < 0 else layers}")
