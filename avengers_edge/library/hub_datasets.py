"""Rows of a data set on the Hugging Face hub, through the package `datasets` (extra `hub`).

Rows are streamed: nothing is kept on disk, and no code that a data set may bring is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avengers_edge.errors import MissingExtra, OfflineRefused
from avengers_edge.library.transfer import SourceUnavailable


def hub_rows(repository: str, config: str | None, split: str, *, offline: bool) -> Iterator[dict[str, object]]:
    """Give a table's rows, in its order.

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
    # Its releases raise requests', httpx' and their own errors: there is no common base.
    try:
        for row in datasets.load_dataset(repository, config, split=split, streaming=True):
            yield dict(row)
    except Exception as error:
        kind = type(error).__name__
        lines = str(error).strip().splitlines() or [kind]
        gated = "Gated" in kind or "gated" in lines[0]
        hint = "accept its licence there and set HF_TOKEN" if gated else "check the network and the name"
        raise SourceUnavailable(f"the hub did not give {name}, split {split}: {lines[0]}; {hint}") from error


def _package() -> Any:  # noqa: ANN401 - an optional package without types here
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("datasets", "hub", "reading a benchmark from the Hugging Face hub") from error
    return datasets
