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

import os
import reprlib
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge.errors import AvengersError, BadRequest

HOME_VARIABLE = "AVENGERS_HOME"
OFFLINE_VARIABLE = "AVENGERS_OFFLINE"
KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
_MOST_BYTES = 16 * 1024  # the TOML parser takes quadratic time for a key of many parts
_ROUND = 256  # llama.cpp gives a slot a multiple of so many cells
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can set once for all commands.

    `threads` None means one per core, `gpu_layers` -1 means all of them where the build has a GPU, `context` is the
    number of KV cells a model's samples share. `slots` (of `avengers serve` alone) parts it among so many samples, each
    of which then has `context / slots` for prompt and answer: quicker where many requests come at once. `repack` None
    leaves weight repacking to the engine. `kv_type` is the ggml type of keys and values: `q8_0` takes half of `f16`'s
    memory. `worker` runs each model in a process of its own, which is given up when it shows no sign of life for
    `patience` seconds; without it, what a model file's chat template writes is bounded and the time that it takes is
    not. An idle model is unloaded after `keep_alive` seconds, at -1 only when another one needs its memory; the models
    in `pin` stay. With `park` its conversation lies on the disk meanwhile, so that it need not be evaluated again.
    `providers` are ONNX Runtime execution providers for the embedder, in order of preference. `vi` gives the prompt of
    `avengers chat` vi's keys.
    """

    home: Path
    offline: bool = False
    team: str = "starter"
    threads: int | None = None
    gpu_layers: int = -1
    context: int = 8192
    slots: int = 0
    repack: bool | None = None
    kv_type: str = "f16"
    worker: bool = True
    patience: int = 120
    keep_alive: int = 300
    pin: tuple[str, ...] = ()
    park: bool = True
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    vi: bool = False

    @property
    def part(self) -> int:
        """How many KV cells one request can have: all, or a slot's."""
        return self.context // self.slots // _ROUND * _ROUND if self.slots else self.context

    @property
    def cells(self) -> int:
        """How many KV cells a model has in all."""
        return self.part * (self.slots or 1)

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise BadRequest(f"{name} is {reprlib.repr(value)}: use {least} to {most}")
        if self.slots == 1:
            raise BadRequest("slots is 1: use 2 or more, or 0 for a context that all samples share")
        if self.part < _ROUND:
            least = _ROUND * self.slots
            raise BadRequest(f"{self.slots} slots of a context of {self.context} tokens: use {least} tokens or more")
        if self.kv_type not in KV_TYPES:
            raise BadRequest(f"kv_type is {reprlib.repr(self.kv_type)}: use one of {', '.join(KV_TYPES)}")
        if not all(self.pin):
            raise BadRequest("pin has an empty name: name installed models, or leave it out")
        if not self.providers:
            raise BadRequest("providers is empty: name at least CPUExecutionProvider")


_BOUNDS = {
    "threads": (1, 1024),
    "gpu_layers": (-1, 100_000),
    "context": (256, 2**31 - 1),
    "slots": (0, 256),
    "patience": (1, 86_400),
    "keep_alive": (-1, 31_536_000),
}
_SETTABLE: dict[str, type | tuple[type, ...]] = {
    "offline": bool,
    "team": str,
    "threads": int,
    "gpu_layers": int,
    "context": int,
    "repack": bool,
    "kv_type": str,
    "worker": bool,
    "patience": int,
    "keep_alive": int,
    "pin": list,
    "park": bool,
    "providers": list,
    "vi": bool,
}


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
    try:
        text = _read_small_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"settings file {path} cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of 5000 digits is a plain ValueError
        raise BadRequest(f"settings file {path} is not valid TOML: {error}") from error
    for key, value in values.items():
        wanted = _SETTABLE.get(key)
        if wanted is None:
            raise BadRequest(
                f"settings file {path} has unknown key {reprlib.repr(key)}: use one of {', '.join(_SETTABLE)}"
            )
        # bool is an int to Python, not to a user.
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise BadRequest(f"settings file {path}: {key} is {reprlib.repr(value)}, which is of the wrong type")
    for key in [key for key, value in values.items() if isinstance(value, list)]:
        if not all(isinstance(name, str) for name in values[key]):
            raise BadRequest(f"settings file {path}: {key} must be a list of names")
        values[key] = tuple(values[key])
    return values


def _read_small_file(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):
        raise BadRequest(f"settings file {path} is not a regular file: move it away")  # a pipe would never end
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise BadRequest(f"settings file {path} is larger than {_MOST_BYTES} bytes: move it away")
    return content.decode("utf-8")
