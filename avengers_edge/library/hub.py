"""Models and data sets of the Hugging Face hub, through its own clients (extra `hub`).

The hub keeps the sha256 of every large file; where a manifest pins none, that one is taken and then locked in the
receipt: a file that changes on the hub later is refused. Data sets are streamed row by row: nothing is kept on the
disk, and no code that a data set may bring is run.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge.errors import AvengersError, MissingExtra, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.disk import bytes_below, require_room
from avengers_edge.library.download import Fetched, PullJob, SourceUnavailable
from avengers_edge.library.manifests import HubSource
from avengers_edge.library.receipts import Expected

_POLL_SECONDS = 0.5


def fetch_from_hub(source: HubSource, job: PullJob, locked: str | None) -> Fetched:
    """Download a file of the hub; `locked` is the sha256 of an earlier pull, or None.

    Raises:
        MissingExtra: the hub's client is not installed.
        SourceUnavailable: the hub cannot be reached, or does not give the file.
        VerificationFailed: the hub's file is another one than the manifest or the earlier pull says.
        DoesNotFit: the disk has no room.

    """
    hub = _client()
    hub.utils.disable_progress_bars()  # its bars would be drawn into ours
    manifest, name = job.manifest, f"{source.repository}/{source.file}"
    with _hub_errors(name):
        address = hub.hf_hub_url(source.repository, source.file, revision=source.revision, endpoint=_endpoint())
        metadata = hub.get_hf_file_metadata(address)
    offered = metadata.etag if re.fullmatch(r"[0-9a-f]{64}", metadata.etag or "") else None
    wanted = manifest.sha256 or locked
    if offered and wanted and offered != wanted:
        raise VerificationFailed(
            f"the hub's {name} has changed: its sha256 begins with {offered[:12]}, not with {wanted[:12]}; "
            "name a revision in the manifest, or remove the model and pull it anew"
        )
    expected = wanted or offered
    if expected is None:
        raise VerificationFailed(f"the hub tells no sha256 of {name}: put one into the manifest")
    job.folder.mkdir(parents=True, exist_ok=True)
    folder = job.folder / "hub"
    require_room(job.folder, max((metadata.size or 0) - bytes_below(folder), 0), f"pulling {manifest.id}")
    with _hub_errors(name), _watched(job, folder, metadata.size):
        # The commit that the metadata is of, so that both speak of one file.
        path = hub.hf_hub_download(
            source.repository,
            source.file,
            revision=metadata.commit_hash or source.revision,
            local_dir=folder,
            endpoint=_endpoint(),
        )
    return Fetched(Path(path), Expected(expected, "manifest" if manifest.sha256 else "hub metadata", f"hf: {name}"))


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; `sha256` is known of what the hub keeps as large files."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository, and the licence that it states ("" for none)."""

    files: tuple[HubFile, ...]
    licence: str


def list_files(repository: str, revision: str | None) -> Listing:
    """Ask the hub for the files of a repository, with their sizes and hashes.

    Raises:
        MissingExtra: the hub's client is not installed.
        NotFound: there is no such repository or revision, or it is private.
        SourceUnavailable: the hub cannot be reached, or refuses.

    """
    hub = _client()
    with _hub_errors(repository):
        try:
            info = hub.HfApi(endpoint=_endpoint()).model_info(repository, revision=revision, files_metadata=True)
        except hub.errors.GatedRepoError:
            raise
        except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
            where = f"{repository} at {revision}" if revision else repository
            raise NotFound(f"the hub has no {where}: check the name, or set HF_TOKEN if it is private") from error
    files = tuple(
        HubFile(each.rfilename, each.size or 0, None if each.lfs is None else each.lfs.sha256) for each in info.siblings
    )
    licence = (info.card_data or {}).get("license") or ""
    return Listing(files, licence if isinstance(licence, str) and licence.isprintable() else "")


def _endpoint() -> str | None:
    """Return another hub's address, as the hub's own tools take it from the environment; read on call."""
    return os.environ.get("HF_ENDPOINT") or None


def _client() -> Any:  # noqa: ANN401 - an optional package without types here
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", "pulling from the Hugging Face hub") from error
    return huggingface_hub


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Map the client's errors to ours. Its releases raise requests', httpx' and their own: no common base."""
    try:
        yield
    except AvengersError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # the disk's complaint, not the hub's
        kind = type(error).__name__
        lines = str(error).strip().splitlines() or [kind]
        gated = "Gated" in kind or "gated" in lines[0]
        hint = "accept its licence there and set HF_TOKEN" if gated else "check the network and the name"
        raise SourceUnavailable(f"the hub did not give {name}: {lines[0]}; {hint}") from error


@contextmanager
def _watched(job: PullJob, folder: Path, total: int | None) -> Iterator[None]:
    """Report how much lies in the folder while the client fills it."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            done = bytes_below(folder)
            job.report("downloading", done if total is None else min(done, total), total)

    watcher = threading.Thread(target=watch, name="avengers-pull-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def hub_rows(repository: str, config: str | None, split: str, *, offline: bool) -> Iterator[dict[str, object]]:
    """Yield the rows of a table, in its order.

    Args:
        repository: such as "openai/openai_humaneval".
        config: which of its tables; None where it has one only.
        split: as the hub calls it.
        offline: whether the user forbade the network.

    Raises:
        OfflineRefused: the network is forbidden.
        MissingExtra: the package is not installed.
        SourceUnavailable: the hub cannot be reached, or does not give the table.

    """
    name = f"{repository}{f' ({config})' if config else ''}"
    if offline:
        raise OfflineRefused(
            f"reading {name} needs the network, which --offline forbids: name the folder with its files instead"
        )
    datasets = _package()
    datasets.disable_progress_bars()  # its bars would be drawn into ours
    return _streamed(datasets, repository, config, split, name)


def _streamed(
    datasets: Any,  # noqa: ANN401 - an optional package without types here
    repository: str,
    config: str | None,
    split: str,
    name: str,
) -> Iterator[dict[str, object]]:
    with _hub_errors(f"{name}, split {split}"):
        for row in datasets.load_dataset(repository, config, split=split, streaming=True):
            yield dict(row)


def _package() -> Any:  # noqa: ANN401 - an optional package without types here
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "hub", "reading a benchmark from the Hugging Face hub") from error
    return datasets
