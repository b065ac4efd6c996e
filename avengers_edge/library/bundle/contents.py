"""What goes into a bundle: a team's files, the wheels, licences, and the SBOM (CycloneDX 1.6) that describes them."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

import avengers_edge
from avengers_edge._util.files import reading
from avengers_edge.errors import NotFound
from avengers_edge.library.bundle.manifest import BundleFile, Receipt
from avengers_edge.library.bundle.wheels import WheelFacts, plain_name, read_licence_texts, read_member, read_wheel
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import sha256_of
from avengers_edge.library.manifests import ModelManifest
from avengers_edge.library.receipts import Receipt as StoreReceipt
from avengers_edge.library.store import Store
from avengers_edge.records import Team

_EMBEDDER = "avengers_edge/models/embedder/embedder.json"
_PROPERTY = "avengers-edge:"
"""The prefix of the SBOM's properties that are our own."""


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model in a bundle: its manifest, and the receipt of the file that is packed."""

    manifest: ModelManifest
    receipt: StoreReceipt


@dataclass(frozen=True, slots=True)
class Item:
    """A file to pack: its line of the manifest, and its content or where that lies."""

    file: BundleFile
    content: Path | bytes


@dataclass(frozen=True, slots=True)
class PackedWheel:
    """A wheel in a bundle: where it lies, how it is packed, and its metadata."""

    path: Path
    item: Item
    facts: WheelFacts


def written_item(path: str, role: str, content: bytes) -> Item:
    """Make an item of bytes that were made for the bundle."""
    return Item(BundleFile(path, len(content), hashlib.sha256(content).hexdigest(), role), content)


def copied_item(path: str, role: str, source: Path) -> Item:
    """Make an item of a file, and hash it."""
    return Item(BundleFile(path, source.stat().st_size, sha256_of(source), role), source)


def find_models(team: Team, catalog: Catalog, store: Store) -> tuple[PackedModel, ...]:
    """Find the models of a team in the store, verified; the error of a team that is not set up names all it lacks."""
    manifests = [catalog.load_model(model) for model in team.models]
    missing = [manifest.id for manifest in manifests if store.size_of(manifest) is None]
    if missing:
        raise NotFound(f"team {team.name} lacks {', '.join(missing)}: run `avengers setup {team.name}`")
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
        known, folder = model.receipt, f"models/{model.manifest.id}"
        receipt = Receipt(known.source, known.verified_at, known.expected_from, known.chat_template_sha256)
        parts = [(model.manifest.file, known.bytes, known.sha256)]
        parts += [(part.file, part.bytes, part.sha256) for part in known.parts]
        for (name, size, sha256), path in zip(parts, store.files_of(model.manifest), strict=True):
            items.append(Item(BundleFile(f"{folder}/{name}", size, sha256, "model", receipt), path))
    return items


def user_items(team: Team, home: Path) -> list[Item]:
    """List the user's own files of a team: its file, table, manifests and modes; the product's wheel has what ships."""
    wanted = [(f"manifests/{model}.toml", "manifest") for model in team.models]
    wanted.append((f"teams/{team.name}.toml", "team"))
    if team.table is not None:
        wanted.append((f"tables/{team.table}", "table"))
    if any(member.mode is not None for member in team.members):
        wanted.append(("modes.toml", "modes"))
    with reading(home):
        return [copied_item(path, role, home / path) for path, role in wanted if (home / path).is_file()]


def find_wheels(paths: Iterable[Path]) -> tuple[PackedWheel, ...]:
    """Hash wheels and read their metadata."""
    return tuple(
        PackedWheel(path, copied_item(f"wheels/{path.name}", "wheel", path), read_wheel(path)) for path in paths
    )


def licence_items(models: Iterable[PackedModel], wheels: Iterable[PackedWheel]) -> list[Item]:
    """List the texts of the wheels' licences and, in one text, what licences the models are under."""
    lines = [f"{each.manifest.id}: {each.manifest.licence} ({each.manifest.file})\n" for each in models]
    head = f"The licences of the models, as their manifests of avengers-edge {avengers_edge.__version__} name them.\n\n"
    texts = {"licences/models.txt": (head + "".join(lines)).encode("utf-8")}
    for wheel in wheels:
        folder = plain_name(f"{wheel.facts.name}-{wheel.facts.version}")
        for name, text in read_licence_texts(wheel.path):
            texts.setdefault(f"licences/{folder}/{name}", text)
    folded: dict[str, str] = {}  # some systems take names for the same that differ in case
    for path in texts:
        folded.setdefault(path.casefold(), path)
    return [written_item(path, "licence", texts[path]) for path in folded.values()]


def build_sbom(name: str, created: str, models: tuple[PackedModel, ...], wheels: tuple[PackedWheel, ...]) -> bytes:
    """Describe a bundle; the same contents at the same moment give the same bytes."""
    components = [_model_component(each) for each in models] + [
        part for each in wheels for part in _wheel_components(each)
    ]
    root: dict[str, object] = {"type": "application", "bom-ref": f"bundle:{name}", "name": name}
    seed = json.dumps([name, created, components], sort_keys=True).encode("utf-8")
    product = {"type": "application", "name": "avengers-edge", "version": avengers_edge.__version__}
    value = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=hashlib.sha256(seed).digest()[:16], version=4)}",
        "version": 1,
        "metadata": {"timestamp": created, "tools": {"components": [product]}, "component": root},
        "components": components,
        "dependencies": [
            {"ref": root["bom-ref"], "dependsOn": [component["bom-ref"] for component in components]},
        ],
    }
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def _model_component(model: PackedModel) -> dict[str, object]:
    manifest, receipt = model.manifest, model.receipt
    properties = {
        "file": manifest.file,
        "bytes": str(receipt.bytes),
        "context_length": str(manifest.context_length),
        "source": receipt.source,
        "verified_at": receipt.verified_at,
    }
    if receipt.chat_template_sha256:
        properties["chat_template_sha256"] = receipt.chat_template_sha256
    component: dict[str, object] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{manifest.id}",
        "name": manifest.id,
        "hashes": _sha256(receipt.sha256),
        "licenses": _licence(manifest.licence),
        "properties": [{"name": _PROPERTY + key, "value": value} for key, value in properties.items()],
    }
    if receipt.parts:
        component["components"] = [
            {"type": "file", "name": part.file, "hashes": _sha256(part.sha256)} for part in receipt.parts
        ]
    return component


def _wheel_components(wheel: PackedWheel) -> list[dict[str, object]]:
    facts = wheel.facts
    purl = f"pkg:pypi/{canonicalize_name(facts.name)}@{facts.version}"
    library: dict[str, object] = {
        "type": "library",
        "bom-ref": f"wheel:{wheel.path.name}",
        "name": facts.name,
        "version": facts.version,
        "purl": purl,
        "hashes": _sha256(wheel.item.file.sha256),
        "licenses": _licence(facts.licence),
        "properties": [{"name": f"{_PROPERTY}file", "value": f"wheels/{wheel.path.name}"}],
    }
    embedder_json = read_member(wheel.path, _EMBEDDER) if facts.name == "avengers-edge" else None
    if embedder_json is None:
        return [library]
    embedder = json.loads(embedder_json)
    return [
        library,
        {
            "type": "machine-learning-model",
            "bom-ref": f"embedder:{embedder['name']}",
            "name": embedder["name"],
            "hashes": _sha256(embedder["onnx_sha256"]),
            "licenses": _licence("Apache-2.0"),
            "properties": [{"name": f"{_PROPERTY}file", "value": f"wheels/{wheel.path.name}: {_EMBEDDER}"}],
        },
    ]


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _licence(text: str) -> list[dict[str, object]]:
    """Describe a licence by its SPDX id, by an SPDX expression, or by the name that it is given."""
    try:
        spdx = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return [{"license": {"name": text}}]
    is_id = re.fullmatch(r"(?!LicenseRef-)[A-Za-z0-9.-]+", spdx)
    return [{"license": {"id": spdx}}] if is_id else [{"expression": spdx}]
