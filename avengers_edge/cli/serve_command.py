"""`serve`: the OpenAI-compatible server."""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
import subprocess
import sys
import time
import webbrowser
from pathlib import Path

import click

from avengers_edge.cli.completion import complete_teams
from avengers_edge.cli.running_server import find_server, new_token, run_file
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.config import Settings
from avengers_edge.errors import AvengersError, BadRequest, MissingExtra, NotFound

KEY_VARIABLE = "AVENGERS_API_KEY"
_MOST_KEY_BYTES = 4096
_SLOT = 1024  # tokens
_START_POLLS, _POLL_SECONDS = 300, 0.1
_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--host", default="127.0.0.1", help="Address to listen on; one that other machines reach needs an API key."
)
@click.option("--port", type=int, default=8765, help="Port to listen on; 0: any free one.")
@click.option("--team", shell_complete=complete_teams, help="Team called `avengers` (default: the one in use).")
@click.option(
    "--api-key-file",
    type=_FILE,
    metavar="FILE",
    help=f"File with the API key that clients have to send ({KEY_VARIABLE}).",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Further host name to accept; repeatable.")
@click.option(
    "--allow-origin", multiple=True, metavar="URL", help="Origin of web pages that may send requests; repeatable."
)
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Certificate chain (PEM); serves HTTPS.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Private key of the certificate (PEM).")
@click.option("--width", type=click.IntRange(1, 512), default=32, help="Maximum number of concurrent requests.")
@click.option(
    "--slots",
    type=click.IntRange(0, 256),
    default=0,
    help="Number of KV cache slots, each with an equal part of the context; 0: one context for all.",
)
@click.option(
    "--context",
    type=click.IntRange(256),
    metavar="TOKENS",
    help=f"Context of a model (default: that of settings.toml, at least {_SLOT} a slot).",
)
@click.option("--max-queue", type=click.IntRange(0), default=64, help="Maximum number of waiting requests.")
@click.option("--max-seconds", type=float, default=600.0, help="Timeout of a request, seconds.")
@click.option("--max-tokens", type=click.IntRange(1), default=8192, help="Token limit of a request.")
@click.option("--max-body", type=click.IntRange(1024), default=4 * 2**20, help="Limit of a request's body, bytes.")
@click.option("--drain", type=float, default=30.0, help="Shutdown timeout of requests under way, seconds.")
@click.option("--strict", is_flag=True, help="Refuse unknown fields of requests instead of listing them.")
@click.option("--background", is_flag=True, help="Start the server in the background; `avengers stop` ends it.")
@click.option("--open", "opens", is_flag=True, help="Open the chat page in the browser.")
@click.option("--log-prompts", is_flag=True, help="Include prompts in the log.")
@pass_session
def serve(
    session: Session,
    host: str,
    port: int,
    team: str | None,
    api_key_file: Path | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    width: int,
    slots: int,
    context: int | None,
    max_queue: int,
    max_seconds: float,
    max_tokens: int,
    max_body: int,
    drain: float,
    strict: bool,
    background: bool,
    opens: bool,
    log_prompts: bool,
) -> None:
    """Serve OpenAI's, Anthropic's and Ollama's APIs, and a page.

    By default only this machine can reach them. The chat page is at the address that is printed.

    \b
    Model names are avengers (routed and voted), avengers/TEAM, and each member's own:
      avengers serve --open
      avengers serve --background
      curl http://127.0.0.1:8765/v1/chat/completions -H 'Content-Type: application/json' \\
        -d '{"model": "avengers", "messages": [{"role": "user", "content": "How many are 3 and 4?"}]}'
    """
    try:
        import starlette  # noqa: F401 - whether it is installed
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "starlette", "serve", "avengers serve") from error
    if background:
        _start_in_background(session, opens=opens)
        return
    from avengers_edge.server.app import App
    from avengers_edge.server.chat_page import page_routes
    from avengers_edge.server.launcher import serve as serve_app
    from avengers_edge.server.model_registry import ModelRegistry
    from avengers_edge.server.options import Limits, ServeOptions

    options = ServeOptions(
        host=host,
        port=port,
        api_key=_key(api_key_file),
        hosts=allow_host,
        origins=allow_origin,
        certificate=_readable(tls_cert),
        private_key=_readable(tls_key),
        log_prompts=log_prompts,
        strict=strict,
        token=new_token(),
        limits=Limits(width=width, queue=max_queue, seconds=max_seconds, tokens=max_tokens, body=max_body, drain=drain),
    )
    _log()
    if not options.loopback and options.certificate is None:
        click.echo(
            "warning: without TLS the key and all texts can be read on their way (--tls-cert, --tls-key)", err=True
        )
    settings = _with_slots(session.settings(), slots, context)
    registry = ModelRegistry.open(settings, team)
    if missing := registry.missing():
        name = registry.default.team.name
        click.echo(
            f"warning: team {name} lacks {', '.join(missing)}: `avengers setup {name}` installs what it needs", err=True
        )
    with run_file(settings.home, options.token or "") as running:

        def started(address: str) -> None:
            # Answers without a key of its own: the token stands in for one, on this machine and for this user alone.
            if options.loopback and options.certificate is None:
                running.listens(address)
            click.echo(f"serving {address}  (Ctrl-C ends)", err=True)
            click.echo(f"  page and Ollama's API {address}, OpenAI's {address}/v1", err=True)
            if opens:
                webbrowser.open(address)

        serve_app(App(registry, options, page_routes()), options, started)


@click.command()
@pass_session
def stop(session: Session) -> None:
    """Stop the running server; answers under way are finished first.

    \b
      avengers stop
    """
    server = find_server(session.settings().home)
    if server is None:
        raise NotFound("no server of this home runs: `avengers serve --background` starts one")
    server.stop()
    click.echo(f"{server.url} stops", err=True)


def _start_in_background(session: Session, *, opens: bool) -> None:
    """Start a server with the same words in a process of its own, and wait until it listens."""
    home = session.settings().home
    if running := find_server(home):
        raise BadRequest(f"a server of this home runs at {running.url}: `avengers stop` ends it")
    words = [word for word in sys.argv[1:] if word not in ("--background", "--open")]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "serve.log"
    # CREATE_NEW_PROCESS_GROUP and DETACHED_PROCESS, which Python knows on Windows only.
    flags = 0x200 | 0x8 if sys.platform == "win32" else 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "avengers_edge", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
    for _ in range(_START_POLLS):
        if server := find_server(home):
            click.echo(f"{server.url} runs; `avengers stop` ends it, {log} is its log", err=True)
            if opens:
                webbrowser.open(server.url)
            return
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["without a word"]
            raise AvengersError(f"the server ended at once: {lines[-1].removeprefix('avengers: ')}")
        time.sleep(_POLL_SECONDS)
    process.kill()
    raise AvengersError(f"the server did not listen within {_START_POLLS * _POLL_SECONDS:g} s: see {log}")


def _with_slots(settings: Settings, slots: int, context: int | None) -> Settings:
    """Divide the context among slots, and print the part of each."""
    context = context or max(settings.context, slots * _SLOT)
    settings = dataclasses.replace(settings, slots=slots, context=context)
    if slots:
        click.echo(f"{slots} slots of {settings.part} tokens each, for a prompt and its answer", err=True)
    return settings


def _key(file: Path | None) -> str | None:
    """Read the key from the file, else from the environment."""
    if file is None:
        value = os.environ.get(KEY_VARIABLE)
        return _one_key(os.fsencode(value), KEY_VARIABLE) if value else None
    _readable(file)
    key = _one_key(file.read_bytes()[:_MOST_KEY_BYTES], str(file))
    if os.name == "posix" and file.stat().st_mode & stat.S_IROTH:
        click.echo(f"warning: everybody on this machine can read {file}: chmod 600 it", err=True)
    return key


def _one_key(content: bytes, where: str) -> str:
    try:
        key = content.strip().decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest(f"the key in {where} is not ASCII: write one line of letters and digits") from None
    if len(key.split()) != 1:
        raise BadRequest(f"{where} does not hold one key: write one line without spaces")
    return key


def _readable(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open("rb"):
            return os.fspath(file)
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error


def _log() -> None:
    """Write the server's log to standard error, unless -v writes everything there."""
    logger = logging.getLogger("avengers_edge.server")
    if not logging.getLogger("avengers_edge").isEnabledFor(logging.DEBUG):
        lines = logging.StreamHandler(sys.stderr)
        lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(lines)
        logger.propagate = False
    logger.setLevel(logging.INFO)
