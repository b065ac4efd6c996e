"""Models named by where they are: a repository of the Hugging Face hub, one of its files, or an address.

    owner/repo    owner/repo:Q4_K_M    hf.co/owner/repo:Q4_K_M    hf:owner/repo/FILE.gguf    https://HOST/FILE.gguf

What such a name means is asked of the hub once, when the model is pulled; the manifest that is written then is found
again by the same name without a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from avengers_edge._util.text import human_bytes
from avengers_edge.errors import BadRequest, DoesNotFit, NotFound, OfflineRefused
from avengers_edge.library.gguf import quantization_in, read_header
from avengers_edge.library.manifests import HubSource, ModelManifest, Part, Source, UrlSource
from avengers_edge.library.names import check_id, is_later_part, part_names, whole_name
from avengers_edge.library.receipts import hash_template

if TYPE_CHECKING:
    from avengers_edge.library.hub import HubFile

_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+?)(?::([\w.-]+))?", re.ASCII)
_FILE = re.compile(r"([\w.-]+/[\w.-]+)/(.+\.gguf)", re.ASCII | re.IGNORECASE)
_NO_MODEL = re.compile(r"mmproj|imatrix|clip-vit", re.IGNORECASE)
_USUAL = "Q4_K_M"
_RUNTIME_SHARE = 1.2
"""Memory that a model takes beside its weights, for a choice before its header is known: a fifth of their size."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model by its place: an address, or a repository with a file or a quantization of it, or neither."""

    repository: str = ""
    file: str | None = None
    quantization: str | None = None
    revision: str | None = None
    url: str | None = None


def parse_reference(name: str) -> Reference | None:
    """Read a name as a place; None where it is a plain name, which has no slash.

    Raises:
        BadRequest: it is neither.

    """
    if "/" not in name:
        return None
    place = name
    if name.startswith(("https://", "http://")):
        parts = urlsplit(name)
        if (parts.hostname or "") not in _HUB_HOSTS:
            if not parts.path.lower().endswith(".gguf"):
                raise BadRequest(f"{name} is the address of no .gguf file: give the file's own address")
            return Reference(url=name)
        place = unquote(parts.path).strip("/")
    place = re.sub(r"^(?:hf:|(?:www\.)?(?:hf\.co|huggingface\.co)/)", "", place)
    if found := re.fullmatch(r"([^/]+/[^/]+)/(?:resolve|blob|tree)/([^/]+)(?:/(.+))?", place):
        repository, revision, file = found.groups()
        return Reference(repository, file, None, None if revision == "main" else revision)
    if found := _FILE.fullmatch(place):
        return Reference(found[1], found[2])
    if found := _REPOSITORY.fullmatch(place):
        return Reference(found[1], None, found[2])
    raise BadRequest(f"{name!r} is no model: write owner/repo[:Q4_K_M], hf:owner/repo/FILE.gguf or an address")


def matches(reference: Reference, manifest: ModelManifest) -> bool:
    """Whether a manifest is of the model that a reference names."""
    return any(_same(reference, source) for source in manifest.sources)


def _same(reference: Reference, source: Source) -> bool:
    if isinstance(source, UrlSource):
        return source.url == reference.url
    if not isinstance(source, HubSource) or source.repository.lower() != reference.repository.lower():
        return False
    if reference.file is not None:
        return source.file == reference.file
    wanted = reference.quantization
    return wanted is None or wanted.upper() == _quantization(source.file)


def locate(
    reference: Reference,
    taken: Mapping[str, ModelManifest],
    *,
    free: int | None,
    offline: bool,
    sha256: str | None = None,
) -> tuple[ModelManifest, str]:
    """Ask the hub which file a reference means; return a manifest to pull it by, and why it is this file.

    Licence and context length are completed from the file's header afterwards, see `completed`.

    Args:
        reference: what is wanted.
        taken: the manifests that there are, by id.
        free: bytes of memory that are free; None where the system does not say.
        offline: whether the network is forbidden.
        sha256: the hash that an address's file must have.

    Raises:
        OfflineRefused: the network is forbidden.
        NotFound: no such repository, or nothing in it that is meant.
        DoesNotFit: no quantization was named, and none fits the memory.
        MissingExtra: the hub's client is not installed.
        SourceUnavailable: the hub cannot be reached, or refuses.

    """
    if offline:
        place = reference.url or reference.repository
        raise OfflineRefused(f"pulling {place} needs the network: run it without --offline")
    if reference.url is not None:
        name = PurePosixPath(unquote(urlsplit(reference.url).path)).name
        return _manifest(name, UrlSource(reference.url), taken, "", sha256=sha256), "the file at that address"
    from avengers_edge.library.hub import list_files  # with the network's modules, which only a pull needs

    listing = list_files(reference.repository, reference.revision)
    models = {
        file.path: file
        for file in listing.files
        if file.path.lower().endswith(".gguf")
        and not is_later_part(_name(file.path))
        and not _NO_MODEL.search(file.path)
    }
    if not models:
        raise NotFound(f"{reference.repository} has no GGUF file: look for a repository whose name ends in GGUF")
    sizes = {path: _size(path, listing.files) for path in models}
    path, why = _chosen(reference, sizes, free)
    source = HubSource(reference.repository, path, reference.revision)
    file = models[path]
    manifest = _manifest(_name(path), source, taken, listing.licence, size=file.size, sha256=file.sha256)
    further = part_names(manifest.file)[1:]
    parts = []
    for part in further:
        found = next((each for each in listing.files if _name(each.path) == part), None)
        if found is None or found.sha256 is None:
            raise NotFound(f"{reference.repository} lacks {part}, a part of {path}: take another quantization")
        parts.append(Part(part, found.size, found.sha256))
    return msgspec.structs.replace(manifest, parts=tuple(parts)), why


def completed(manifest: ModelManifest, path: Path, sha256: str) -> ModelManifest:
    """Complete the manifest of a file that was pulled with what its header says; `sha256` is that of the file."""
    header = read_header(path)
    licence = header.licence if manifest.licence == _UNKNOWN and header.licence else manifest.licence
    return msgspec.structs.replace(
        manifest,
        context_length=header.context_length,
        licence=licence if licence.isprintable() else _UNKNOWN,
        bytes=manifest.bytes or path.stat().st_size,
        sha256=manifest.sha256 or sha256,
        checked=True,
        chat_template_sha256=hash_template(header),
    )


_UNKNOWN = "unknown"


def _chosen(reference: Reference, sizes: Mapping[str, int], free: int | None) -> tuple[str, str]:
    """Choose the file: the one named, else the usual quantization, else the largest that fits."""
    if reference.file is not None:
        if reference.file not in sizes:
            raise NotFound(f"{reference.repository} has no file {reference.file}: it has {_listed(list(sizes))}")
        return reference.file, "the file that was named"
    by_quantization = {_quantization(path) or _name(path): path for path in sorted(sizes, key=sizes.__getitem__)}
    if reference.quantization is not None:
        wanted = reference.quantization.upper()
        if wanted not in by_quantization:
            known = _listed(list(by_quantization))
            raise NotFound(f"{reference.repository} has no quantization {wanted}: it has {known}")
        return by_quantization[wanted], f"{wanted}, as was named"
    fitting = {
        name: path for name, path in by_quantization.items() if free is None or sizes[path] * _RUNTIME_SHARE <= free
    }
    if _USUAL in fitting:
        return fitting[_USUAL], f"{_USUAL}, the usual balance of size and quality"
    if not fitting:
        name, path = next(iter(by_quantization.items()))
        raise DoesNotFit(
            f"the smallest file of {reference.repository} has {human_bytes(sizes[path])} and {human_bytes(free or 0)} "
            f"of memory are free: name it to pull it all the same, {reference.repository}:{name}"
        )
    name, path = list(fitting.items())[-1]
    missing = f"there is no {_USUAL}" if _USUAL not in by_quantization else f"{_USUAL} does not fit"
    return path, f"{name}, the largest that fits; {missing}"


def _manifest(
    file: str,
    source: Source,
    taken: Mapping[str, ModelManifest],
    licence: str,
    *,
    size: int | None = None,
    sha256: str | None = None,
) -> ModelManifest:
    stem = re.sub(r"[^a-z0-9._-]+", "-", re.sub(r"\.gguf$", "", whole_name(file).lower())).strip("._-")
    owner = source.repository.partition("/")[0].lower() if isinstance(source, HubSource) else "web"
    for name in (stem, f"{owner}-{stem}"):
        if name not in taken:
            return ModelManifest(check_id(name), file, licence or _UNKNOWN, 1, (source,), size, sha256)
    raise BadRequest(f"the names {stem} and {owner}-{stem} are taken by other files: remove one of these models")


def _size(path: str, files: Sequence[HubFile]) -> int:
    names = set(part_names(_name(path)))
    return sum(file.size for file in files if _name(file.path) in names)


def _quantization(path: str) -> str | None:
    return quantization_in(whole_name(_name(path)).removesuffix(".gguf")) or quantization_in(path.replace("/", "-"))


def _name(path: str) -> str:
    return PurePosixPath(path).name


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
