"""Time `avengers bundle` against sha256 and a copy of the same bytes, side by side, with peak memory. Asserts nothing.

    python benchmarks/bench_bundle.py [--home FOLDER --team TEAM] [--runs 5] [--scratch FOLDER]

Without a home it makes one with a model of random bytes (--megabytes). Each step is a whole process, as a user starts
it. Wheels are left out: they are 0.1 GB that pip brings. The scratch folder needs three times the team's bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = [sys.executable, "-m", "avengers_edge"]
COPY = """
import hashlib, os, sys
for source, target in zip(sys.argv[1::2], sys.argv[2::2]):
    digest = hashlib.sha256()
    with open(source, "rb") as read, open(target, "wb") as written:
        while data := read.read(2**20):
            digest.update(data)
            written.write(data)
        written.flush()
        os.fsync(written.fileno())
"""
HASH = """
import hashlib, sys
for source in sys.argv[1:]:
    with open(source, "rb") as read:
        hashlib.file_digest(read, "sha256")
"""
ROWS = ("sha256 and copy", "sha256 alone", "bundle pack", "bundle verify", "bundle unpack", "verify of the home")


@dataclass
class Measured:
    """Seconds and peak memory in bytes, one for each run."""

    seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)


def main() -> None:
    """Print median, least and greatest of each step, its share of sha256 and copy, and its peak memory."""
    parser = argparse.ArgumentParser(description="Time bundles.")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--team", default="starter")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--scratch", type=Path, help="Where to write; by default the system's temporary folder.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        home, team = arguments.home, arguments.team
        if home is None:
            home, team = make_home(scratch, arguments.megabytes), "bench"
        files = model_files(home, team)
        size = sum(path.stat().st_size for path in files)
        print(f"team {team}: {len(files)} model files, {size / 1e6:.1f} MB, {arguments.runs} runs")
        measured = {row: Measured() for row in ROWS}
        for _ in range(arguments.runs):
            run_all(home, team, files, scratch, measured)
    base = statistics.median(measured[ROWS[0]].seconds)
    print(f"{'':20} {'median':>8} {'min':>8} {'max':>8}  x copy  peak memory")
    for row, each in measured.items():
        middle = statistics.median(each.seconds)
        times = f"{middle:7.2f}s {min(each.seconds):7.2f}s {max(each.seconds):7.2f}s"
        print(f"{row:20} {times}  {middle / base:6.2f}  {max(each.peaks) / 1e6:7.1f} MB")


def make_home(scratch: Path, megabytes: int) -> Path:
    """Make a home with a team of one model of random bytes."""
    home, model = scratch / "home", scratch / "bench.gguf"
    # In a process of its own: the memory of whoever starts a command counts as the command's.
    writer = multiprocessing.get_context("spawn").Process(target=write_model, args=(model, megabytes))
    writer.start()
    writer.join()
    (home / "teams").mkdir(parents=True)
    (home / "teams" / "bench.toml").write_text(
        'name = "bench"\ndescription = "random bytes"\n[[members]]\nmodel = "bench"\n', encoding="utf-8"
    )
    subprocess.run([*COMMAND, "--home", str(home), "models", "import", str(model)], check=True, capture_output=True)
    model.unlink()
    return home


def write_model(path: Path, megabytes: int) -> None:
    """Write a valid model file of random bytes."""
    from gguf_writer import Metadata, Tensor, write_file

    metadata: Metadata = {
        "general.architecture": "bench",
        "bench.context_length": 128,
        "bench.block_count": 1,
        "bench.embedding_length": 1024,
        "bench.attention.head_count": 8,
        "tokenizer.ggml.tokens": ["a", "b", "c"],
        "tokenizer.chat_template": "{{ messages }}",
    }
    write_file(path, metadata, [Tensor("noise", (1024, megabytes * 10**6 // 2048), "F16")], 0, {})


def model_files(home: Path, team: str) -> list[Path]:
    """List the model files of a team."""
    from avengers_edge.config import shipped_dir
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.store import Store

    catalog, store = Catalog(home, shipped_dir()), Store(home)
    return [path for model in catalog.load_team(team).models for path in store.files_of(catalog.load_model(model))]


def run_all(home: Path, team: str, files: list[Path], scratch: Path, measured: dict[str, Measured]) -> None:
    """Run every step once, one after the other, so that all meet the same machine."""
    copies = [scratch / "copy" / path.name for path in files]
    out, new = scratch / "out", scratch / "new"
    for folder in (copies[0].parent, out):
        folder.mkdir()
    pairs = [str(path) for pair in zip(files, copies, strict=True) for path in pair]
    archive = str(out / "bench.tar")
    steps = (
        [sys.executable, "-c", COPY, *pairs],
        [sys.executable, "-c", HASH, *map(str, files)],
        [*COMMAND, "--home", str(home), "bundle", "pack", team, "--no-wheels", "--out", archive],
        [*COMMAND, "bundle", "verify", archive],
        [*COMMAND, "--home", str(new), "bundle", "unpack", archive],
        [*COMMAND, "--home", str(new), "bundle", "verify"],
    )
    for row, command in zip(ROWS, steps, strict=True):
        seconds, peak = run(command)
        measured[row].seconds.append(seconds)
        measured[row].peaks.append(peak)
    for folder in (copies[0].parent, out, new):
        shutil.rmtree(folder)


def run(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and its peak memory in bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} … failed with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit


if __name__ == "__main__":
    main()
