"""What `models list` and `models show` know of a model, and how it is written for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.fitting import Fitting
from avengers_edge.errors import AvengersError, NotFound

if TYPE_CHECKING:
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.manifests import ModelManifest
    from avengers_edge.library.store import Store

_FACTS = (
    *(
        "id",
        "installed",
        "bytes",
        "file",
        "parts",
        "link",
        "quantization",
        "memory_bytes",
        "fits",
        "licence",
        "checked",
    ),
    *("verified_at", "untouched", "problem"),
)
_HEAD = ("model", "size", "quant", "memory", "fits", "licence", "verified")


def listed(model: str, catalog: Catalog, store: Store, fitting: Fitting) -> dict[str, Any]:
    """Collect what a list of models shows of one; a manifest that cannot be read is a problem of its own row."""
    try:
        return facts(catalog.load_model(model), store, fitting)
    except AvengersError as error:
        unknown = dict.fromkeys(_FACTS)
        return {**unknown, "id": model, "installed": False, "problem": str(error)}


def facts(manifest: ModelManifest, store: Store, fitting: Fitting) -> dict[str, Any]:
    """Collect what is known of a model; sizes in bytes. What only its file can tell is None where there is none."""
    from avengers_edge.library.ggml import quantization_in

    size, receipt = store.size_of(manifest), store.receipt_of(manifest)
    installed, problem, fit = size is not None, None, None
    if installed:
        try:
            fit = fitting.fit(store.path_of(manifest))
        except AvengersError as error:
            problem = str(error)
    return {
        "id": manifest.id,
        "installed": installed,
        "bytes": size if installed else manifest.total_bytes,
        "file": manifest.file,
        "parts": len(manifest.parts) + 1,
        "link": receipt.link if receipt else None,
        "quantization": (fit.quantization if fit else None) or quantization_in(manifest.file),
        "memory_bytes": fit.total if fit else None,
        "fits": fit.fits if fit else None,
        "licence": manifest.licence,
        "checked": manifest.checked,
        "verified_at": receipt.verified_at if receipt and installed else None,
        "untouched": receipt.untouched(store.path_of(manifest)) if receipt and installed else None,
        "problem": problem,
    }


def shown(manifest: ModelManifest, store: Store, fitting: Fitting) -> dict[str, Any]:
    """Collect all that is known of one model, its chat template's hash and whether the manifest pins it among it."""
    receipt = store.receipt_of(manifest)
    return facts(manifest, store, fitting) | {
        "sha256": manifest.sha256 or (receipt.sha256 if receipt else None),
        "context_length": manifest.context_length,
        "path": str(store.path_of(manifest)),
        "chat_template_sha256": manifest.chat_template_sha256 or (receipt.chat_template_sha256 if receipt else None),
        "chat_template_pinned": manifest.chat_template_sha256 is not None,
        "sources": [source_line(source) for source in manifest.sources],
    }


def template_of(manifest: ModelManifest, store: Store) -> str:
    """Read the chat template of an installed model; what could steer the terminal in it is written as an escape.

    Raises:
        NotFound: the model is not installed, or has no template.

    """
    from avengers_edge.library.gguf import read_header

    template = read_header(store.find(manifest)).chat_template
    if template is None:
        raise NotFound(f"model {manifest.id!r} has no chat template: it is a base model")
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in template
    )


def list_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write a list of models for people, one a line; a row that has a problem says that instead."""
    cells = [_HEAD, *(_cells(row) for row in rows if not row["problem"])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    widths[0] = max([widths[0], *(len(row["id"]) for row in rows)])
    good = iter(cells[1:])
    lines = [_line(_HEAD, widths)]
    for row in rows:
        if row["problem"]:
            lines.append(f"{row['id']:<{widths[0]}}  problem  {row['problem']}")
        else:
            lines.append(_line(next(good), widths))
    return lines


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    fits = {True: "yes", False: "no", None: "-"}[row["fits"]]
    verified = (row["verified_at"] or "")[:10] or ("never" if row["installed"] else "not installed")
    if row["untouched"] is False:
        verified = "changed since"
    return (
        row["id"],
        "?" if row["bytes"] is None else human_bytes(row["bytes"]),
        row["quantization"] or "?",
        "-" if row["memory_bytes"] is None else human_bytes(row["memory_bytes"]),
        fits,
        row["licence"],
        f"{verified}, in place" if row["link"] else verified,
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def source_line(source: object) -> str:
    """Name a source in a few words."""
    from avengers_edge.library.manifests import HubSource, PathSource, PypiSource, UrlSource

    match source:
        case PypiSource(slices=slices):
            first = f"{slices[0].package} {slices[0].version}"
            return f"package index: {first}" + (f" and {len(slices) - 1} more slices" if len(slices) > 1 else "")
        case HubSource(repository=repository, file=file):
            return f"Hugging Face: {repository} {file}"
        case UrlSource(url=place) | PathSource(path=place):
            return str(place)
    raise AvengersError(f"unknown kind of source: {source!r}")
