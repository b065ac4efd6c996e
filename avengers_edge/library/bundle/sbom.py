"""What is in a bundle, in the words of CycloneDX 1.6: models, their data, and the libraries that run them."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

import avengers_edge
from avengers_edge.library.bundle.wheel_facts import WheelFacts, read_member
from avengers_edge.library.manifests import ModelManifest
from avengers_edge.library.receipts import Receipt

_EMBEDDER = "avengers_edge/models/embedder/embedder.json"
_SPDX = re.compile(
    r"(Apache-(1\.1|2\.0)|MIT|MIT-0|BSD-[23]-Clause|ISC|Zlib|PSF-2\.0|MPL-2\.0|CC0-1\.0|CC-BY-(NC-|SA-|ND-)*4\.0|"
    r"(L|A)?GPL-[23]\.[01]-(only|or-later)|Unlicense)",
    re.ASCII,
)
_AVENGERS = "avengers-edge:"
"""What the names of our own properties begin with."""


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model in a bundle: its manifest, and the receipt of the file that is packed."""

    manifest: ModelManifest
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class PackedWheel:
    """A wheel in a bundle."""

    path: Path
    sha256: str
    facts: WheelFacts


def build_sbom(name: str, created: str, models: tuple[PackedModel, ...], wheels: tuple[PackedWheel, ...]) -> bytes:
    """Describe a bundle; the same contents at the same moment give the same bytes."""
    components = [_model(each) for each in models] + [part for each in wheels for part in _wheel(each)]
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


def _model(model: PackedModel) -> dict[str, object]:
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
        "licenses": _licence(manifest.licence, is_spdx=False),
        "properties": [{"name": _AVENGERS + key, "value": value} for key, value in properties.items()],
    }
    if receipt.parts:
        component["components"] = [
            {"type": "file", "name": part.file, "hashes": _sha256(part.sha256)} for part in receipt.parts
        ]
    return component


def _wheel(wheel: PackedWheel) -> list[dict[str, object]]:
    facts = wheel.facts
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', facts.name).lower()}@{facts.version}"
    library: dict[str, object] = {
        "type": "library",
        "bom-ref": f"wheel:{wheel.path.name}",
        "name": facts.name,
        "version": facts.version,
        "purl": purl,
        "hashes": _sha256(wheel.sha256),
        "licenses": _licence(facts.licence, is_spdx=facts.is_spdx),
        "properties": [{"name": f"{_AVENGERS}file", "value": f"wheels/{wheel.path.name}"}],
    }
    told = read_member(wheel.path, _EMBEDDER) if facts.name == "avengers-edge" else None
    if told is None:
        return [library]
    embedder = json.loads(told)
    return [
        library,
        {
            "type": "machine-learning-model",
            "bom-ref": f"embedder:{embedder['name']}",
            "name": embedder["name"],
            "hashes": _sha256(embedder["onnx_sha256"]),
            "licenses": _licence("Apache-2.0", is_spdx=False),
            "properties": [{"name": f"{_AVENGERS}file", "value": f"wheels/{wheel.path.name}: {_EMBEDDER}"}],
        },
    ]


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _licence(text: str, *, is_spdx: bool) -> list[dict[str, object]]:
    if _SPDX.fullmatch(text):
        return [{"license": {"id": text}}]
    return [{"expression": text}] if is_spdx else [{"license": {"name": text}}]
