"""The rooms of the package: which may import which, and which packages belong to one room only."""

from pathlib import Path

import avengers_edge

PACKAGE = Path(avengers_edge.__file__).parent
MAY_IMPORT = {
    "errors": set(),
    "records": {"errors"},
    "_util": {"errors", "records"},
    "config": {"errors", "_util", "records"},
    "routing": {"errors", "_util", "records", "config"},
    "voting": {"errors", "records", "config"},
    "engine": {"errors", "_util", "records", "config"},
    "library": {"errors", "_util", "records", "config"},
    "sandbox": {"errors", "_util", "records", "config"},
    "history": {"errors", "_util", "records"},
    "inquiry": {"records", "voting"},
    "ways": {"errors", "records", "config", "voting", "inquiry"},
    "election": {"errors", "records", "config", "voting", "_util", "inquiry", "ways"},
    "opening": {"records", "config", "routing", "engine", "library", "sandbox"},
}
MAY_IMPORT["runtime"] = {*MAY_IMPORT["election"], *MAY_IMPORT["opening"], "sandbox", "election", "opening"}
UP_TO_RUNTIME = {*MAY_IMPORT["runtime"], "_util", "runtime"}
MAY_IMPORT["calibration"] = {*UP_TO_RUNTIME}
MAY_IMPORT["teams"] = {"errors", "_util", "records", "config", "routing", "library", "opening"}
MAY_IMPORT["batch"] = {"errors", "_util", "records"}
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
    "pydantic_monty": {"sandbox"},
}
OPENS_SOCKETS = {"socket", "urllib.request", "http.client", "huggingface_hub", "ssl", "requests", "httpx"}
