"""Where things lie and what the user set: home folder, environment, settings file. Read on call, never on import.

    <home>/settings.toml              optional; the keys are the fields of `Settings` below
    <home>/models/<model>/            GGUF files under their vendor's name, a receipt beside each
    <home>/partial/<model>/           downloads that are not finished
    <home>/manifests/<model>.toml     models the user added
    <home>/teams/<team>.toml          teams the user made, with their tables in <home>/tables/
    <home>/modes.toml                 ways of asking that the user added or a bundle brought
    <home>/bundles/<name>.json        manifests of bundles that were unpacked; checksums, SBOM and licences in <name>/
    <home>/outcomes/<team>.jsonl      the answers that a team was calibrated by
    <home>/tuning/                    what a step costs with each model on this machine
    <home>/kv/                        conversations of models that were unloaded, until these return or the process ends
    <home>/conversations.sqlite3      the conversations of `avengers chat`, and <home>/chat_history what was typed there

An explicit argument wins over the environment, the environment over the settings file.
"""

from __future__ import annotations

import dataclasses
import os
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge._util.files import read_small
from avengers_edge.errors import AvengersError, BadRequest

HOME_VARIABLE = "AVENGERS_HOME"
OFFLINE_VARIABLE = "AVENGERS_OFFLINE"
KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
_MAX_BYTES = 16 * 1024  # the TOML parser takes quadratic time for a key of many parts
_CELLS_STEP = 256  # llama.cpp gives a slot a multiple of so many cells
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


def _setting(
    default: Any,  # noqa: ANN401 - a field takes any default
    help: str,  # noqa: A002
    *,
    bounds: tuple[int, int] | None = None,
    in_file: bool = True,
) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds, "in_file": in_file})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can set once for all commands; a field's metadata has its help, and its bounds if any."""

    home: Path
    offline: bool = _setting(False, "Refuse whatever needs the network.")
    team: str = _setting("starter", "Default team.")
    threads: int | None = _setting(None, "CPU threads of a model; one per core where it is not set.", bounds=(1, 1024))
    gpu_layers: int = _setting(
        -1, "Layers that are offloaded to a GPU; -1 offloads all where the build has one.", bounds=(-1, 100_000)
    )
    context: int = _setting(8192, "KV cells (tokens) that the samples of a model share.", bounds=(256, 2**31 - 1))
    slots: int = _setting(
        0,
        "Slots that the context is split into, for `avengers serve` alone: each has `context / slots` cells for prompt "
        "and answer, which is quicker where many requests come at once. 0 shares the context.",
        bounds=(0, 256),
        in_file=False,
    )
    repack: bool | None = _setting(None, "Repack weights for the CPU; the engine decides where it is not set.")
    kv_type: str = _setting(
        "f16", f"ggml type of keys and values ({', '.join(KV_TYPES)}); q8_0 takes half of f16's memory."
    )
    worker: bool = _setting(
        True,
        "Run each model in a worker process. Without it the size of what a model file's chat template writes is "
        "limited, and its time is not.",
    )
    patience: int = _setting(120, "Timeout in seconds of a worker process that sends no heartbeat.", bounds=(1, 86_400))
    keep_alive: int = _setting(
        300,
        "Seconds after which an idle model is unloaded; with -1 only when another one needs its memory.",
        bounds=(-1, 31_536_000),
    )
    pin: tuple[str, ...] = _setting((), "Models that are never unloaded.")
    park: bool = _setting(
        True,
        "Write the KV cache of an unloaded model to the disk, so that its conversation need not be evaluated again.",
    )
    providers: tuple[str, ...] = _setting(
        ("CPUExecutionProvider",), "ONNX Runtime execution providers of the embedder, in order of preference."
    )
    vi: bool = _setting(False, "Key bindings of vi in `avengers chat`.")

    @property
    def part(self) -> int:
        """How many KV cells one request can have: all, or a slot's."""
        return self.context // self.slots // _CELLS_STEP * _CELLS_STEP if self.slots else self.context

    @property
    def cells(self) -> int:
        """How many KV cells a model has in all."""
        return self.part * (self.slots or 1)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, bounds = getattr(self, field.name), field.metadata.get("bounds")
            if bounds and value is not None and not bounds[0] <= value <= bounds[1]:
                raise BadRequest(f"{field.name} is {reprlib.repr(value)}: use {bounds[0]} to {bounds[1]}")
        if self.slots == 1:
            raise BadRequest("slots is 1: use 2 or more, or 0 for a context that all samples share")
        if self.part < _CELLS_STEP:
            least = _CELLS_STEP * self.slots
            raise BadRequest(f"{self.slots} slots of a context of {self.context} tokens: use {least} tokens or more")
        if self.kv_type not in KV_TYPES:
            raise BadRequest(f"kv_type is {reprlib.repr(self.kv_type)}: use one of {', '.join(KV_TYPES)}")
        if not all(self.pin):
            raise BadRequest("pin has an empty name: name installed models, or leave it out")
        if not self.providers:
            raise BadRequest("providers is empty: name at least CPUExecutionProvider")


def load_settings(
    home: Path | None = None, *, offline: bool | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Combine arguments, environment and settings file.

    Raises:
        BadRequest: an unknown key or a value of the wrong type; the message names the file and the key. Or a home
            folder of a user that does not exist, or none where this user has none.

    """
    chosen_home = _folder("the home folder", home) if home is not None else _home_from(environ)
    values = _read_settings_file(chosen_home / "settings.toml")
    if (said := environ.get(OFFLINE_VARIABLE)) is not None:
        values["offline"] = _as_bool(OFFLINE_VARIABLE, said)
    if offline is not None:
        values["offline"] = offline
    return Settings(home=chosen_home, **values)


def shipped_dir() -> Path:
    """Find the folder `models/` that comes with the package: inside it when installed, beside it in a checkout.

    Raises:
        AvengersError: neither is there, so the installation is broken.

    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "models", package.parent / "models"):
        if (candidate / "embedder").is_dir():
            return candidate
    raise AvengersError(f"the data folder models/ is missing beside {package}: install the package again")


def _home_from(environ: Mapping[str, str]) -> Path:
    if said := environ.get(HOME_VARIABLE):
        return _folder(HOME_VARIABLE, said)
    import platformdirs  # only here: it is not needed where the home is named

    try:
        return Path(platformdirs.user_data_dir("avengers-edge", appauthor=False)).expanduser()
    except RuntimeError as error:
        raise BadRequest(f"this user has no home folder: name one with --home or {HOME_VARIABLE}") from error


def _folder(name: str, said: str | Path) -> Path:
    try:
        return Path(said).expanduser().absolute()
    except RuntimeError as error:
        raise BadRequest(f"{name} is {str(said)!r}: there is no such user, so write the folder out") from error
    except OSError as error:
        raise BadRequest(f"{name} is {str(said)!r}, and the current folder is gone: write it in full") from error


def _as_bool(name: str, said: str) -> bool:
    word = said.strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise BadRequest(f"{name} is {said!r}: use 1 or 0")


def _read_settings_file(path: Path) -> dict[str, Any]:
    """Read what the file sets; types are checked here, bounds by `Settings`."""
    try:
        text = read_small(path, _MAX_BYTES).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:  # a pipe would never end, so nothing but a regular file is opened
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadRequest(f"settings file {path} cannot be read: {reason}; move it away or write it anew") from error
    import msgspec  # only here, as TOML itself: most homes have no such file

    from avengers_edge._util.toml_files import convert, parse_toml

    where = f"settings file {path}"
    values, hints = parse_toml(text, where), typing.get_type_hints(Settings)
    known = [
        (field.name, hints[field.name], field.default)
        for field in dataclasses.fields(Settings)
        if field.metadata.get("in_file")
    ]
    if unknown := values.keys() - {name for name, *_ in known}:
        names = ", ".join(name for name, *_ in known)
        raise BadRequest(f"{where} has unknown key {reprlib.repr(min(unknown))}: use one of {names}")
    kind = msgspec.defstruct("SettingsFile", known, frozen=True)
    read = msgspec.structs.asdict(convert(values, kind, where))
    return {name: read[name] for name in values}
