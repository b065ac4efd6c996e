"""What goes into a bundle: a team's files and what explains them, each with the hash that is promised of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import avengers_edge
from avengers_edge.errors import NotFound
from avengers_edge.library.bundle.manifest import BundleFile, Origin
from avengers_edge.library.bundle.sbom import PackedModel, PackedWheel
from avengers_edge.library.bundle.wheel_facts import read_licence_texts, read_wheel
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.files import reading, sha256_of
from avengers_edge.library.store import Store
from avengers_edge.records import Team


@dataclass(frozen=True, slots=True)
class Item:
    """A file to pack: what will be promised of it, and its content or where that lies."""

    file: BundleFile
    content: Path | bytes


def written_item(path: str, role: str, content: bytes) -> Item:
    """Make an item of what was written for the bundle."""
    return Item(BundleFile(path, len(content), hashlib.sha256(content).hexdigest(), role), content)


def copied_item(path: str, role: str, source: Path) -> Item:
    """Make an item of a file, which is hashed for that."""
    return Item(BundleFile(path, source.stat().st_size, sha256_of(source), role), source)


def find_models(team: Team, catalog: Catalog, store: Store) -> tuple[PackedModel, ...]:
    """Find the models of a team in the store, verified.

    Raises:
        NotFound: one is not installed; the message names all that lack.
        VerificationFailed: one is damaged.

    """
    manifests = [catalog.load_model(model) for model in team.models]
    lacking = [manifest.id for manifest in manifests if store.size_of(manifest) is None]
    if lacking:
        raise NotFound(f"team {team.name} lacks {', '.join(lacking)}: run `avengers setup {team.name}`")
    models = []
    for manifest in manifests:
        path = store.find(manifest)
        receipt = store.receipt_of(manifest)
        if receipt is None or not receipt.untouched(path):  # a store that cannot be written keeps no receipt
            receipt = store.verify(manifest).receipt
        models.append(PackedModel(manifest, receipt))
    return tuple(models)


def model_items(models: Iterable[PackedModel], store: Store) -> list[Item]:
    """List the model files; their receipts know the hashes, so nothing is read."""
    items = []
    for model in models:
        receipt, folder = model.receipt, f"models/{model.manifest.id}"
        origin = Origin(receipt.source, receipt.verified_at, receipt.expected_from, receipt.chat_template_sha256)
        first, *further = store.files_of(model.manifest)
        file = BundleFile(f"{folder}/{model.manifest.file}", receipt.bytes, receipt.sha256, "model", origin)
        items.append(Item(file, first))
        for part, path in zip(receipt.parts, further, strict=True):
            items.append(Item(BundleFile(f"{folder}/{part.file}", part.bytes, part.sha256, "model", origin), path))
    return items


def user_items(team: Team, home: Path) -> list[Item]:
    """List what the user wrote of a team: its file, its table, manifests, modes; what ships is in the product's wheel.

    Raises:
        AvengersError: one cannot be read.

    """
    wanted = [(f"manifests/{model}.toml", "manifest") for model in team.models]
    wanted.append((f"teams/{team.name}.toml", "team"))
    if team.table is not None:
        wanted.append((f"tables/{team.table}", "table"))
    if any(member.mode is not None for member in team.members):
        wanted.append(("modes.toml", "modes"))
    with reading(home):
        return [copied_item(path, role, home / path) for path, role in wanted if (home / path).is_file()]


def find_wheels(paths: Iterable[Path]) -> tuple[PackedWheel, ...]:
    """Hash wheels and read what they say of themselves.

    Raises:
        VerificationFailed: one is no wheel.

    """
    return tuple(PackedWheel(path, sha256_of(path), read_wheel(path)) for path in paths)


def wheel_items(wheels: Iterable[PackedWheel]) -> list[Item]:
    """List the wheels."""
    return [
        Item(BundleFile(f"wheels/{each.path.name}", each.path.stat().st_size, each.sha256, "wheel"), each.path)
        for each in wheels
    ]


def licence_items(models: Iterable[PackedModel], wheels: Iterable[PackedWheel]) -> list[Item]:
    """List the texts of the wheels' licences and, in one text, what licences the models are under."""
    lines = [f"{each.manifest.id}: {each.manifest.licence} ({each.manifest.file})\n" for each in models]
    head = f"The licences of the models, as their manifests of avengers-edge {avengers_edge.__version__} name them.\n\n"
    texts = {"licences/models.txt": (head + "".join(lines)).encode("utf-8")}
    for wheel in wheels:
        folder = re.sub(r"[^A-Za-z0-9._+-]", "_", f"{wheel.facts.name}-{wheel.facts.version}").strip(". -")
        for name, text in read_licence_texts(wheel.path):
            texts.setdefault(f"licences/{folder}/{name}", text)
    folded: dict[str, str] = {}  # some systems take names for the same that differ in case
    for path in texts:
        folded.setdefault(path.casefold(), path)
    return [written_item(path, "licence", texts[path]) for path in folded.values()]
