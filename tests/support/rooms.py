"""The rooms of the package: which may import which, and which packages belong to one room only."""

from pathlib import Path

import avengers_edge

PACKAGE = Path(avengers_edge.__file__).parent
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "pace": set(),
    "text_files": {"errors", "files"},
    "records": {"errors"},
    "config": {"errors", "records"},
    "routing": {"errors", "files", "records", "config"},
    "voting": {"errors", "records", "config"},
    "engine": {"errors", "files", "records", "config"},
    "library": {"errors", "files", "records", "config"},
    "sandbox": {"errors", "files", "records", "config"},
    "history": {"errors", "files", "records"},
    "clock": {"records"},
    "ways": {"errors", "records", "config", "voting"},
    "election": {"errors", "records", "config", "voting", "clock", "ways"},
    "opening": {"records", "config", "routing", "engine", "library"},
}
MAY_IMPORT["runtime"] = {*MAY_IMPORT["election"], *MAY_IMPORT["opening"], "sandbox", "election", "opening"}
UP_TO_RUNTIME = {*MAY_IMPORT["runtime"], "files", "runtime"}
MAY_IMPORT["calibration"] = {*UP_TO_RUNTIME, "pace", "text_files"}
MAY_IMPORT["teams"] = {"errors", "files", "records", "config", "routing", "library", "opening"}
MAY_IMPORT["batch"] = {"errors", "files", "records", "pace", "text_files"}
MAY_IMPORT["api"] = {"errors", "records", "config", "routing", "election", "opening", "runtime"}
MAY_IMPORT["server"] = UP_TO_RUNTIME
MAY_IMPORT["cli"] = {*MAY_IMPORT}
ONLY_IN = {
    "llama_cpp": {"engine"},
    "onnxruntime": {"routing"},
    "sklearn": {"calibration"},
    "click": {"cli"},
    "datasets": {"library"},
    "sqlite3": {"history"},
    "prompt_toolkit": {"cli"},
    "rich": {"cli"},
    "starlette": {"server", "cli"},
    "uvicorn": {"server", "cli"},
    "h11": {"server"},
    "pydantic_monty": {"sandbox"},
}
OPENS_SOCKETS = {"socket", "urllib.request", "http.client", "huggingface_hub", "ssl", "requests", "httpx"}
