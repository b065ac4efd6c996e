"""KOR-Bench, Knights and Knaves, WinoGrande and BRAINTEASER."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from avengers_edge.calibration.benchmarks.benchmark import (
    ASK_OPTION,
    LETTERS,
    Asked,
    Benchmark,
    HubTable,
    LeftOut,
    Row,
    multiple_choice,
    number_or_expression,
    shown,
    tables,
)
from avengers_edge.calibration.benchmarks.reading import read_table


@dataclass(frozen=True, slots=True)
class _KorPrompt:
    """KOR-Bench's zero-shot prompt of one task (config/prompt/zero-shot.yaml, Apache-2.0), without its last heading."""

    role: str
    steps: tuple[str, str, str]
    heading: str

    def fill(self, rule: str, question: str) -> str:
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
        return (
            f"{self.role}\n\n### Instructions:\n\n{steps}\n\n### {self.heading} Rule:\n\n{rule}"
            f"\n\n### Question:\n{question}"
        )


_KOR_PROMPTS: Mapping[str, _KorPrompt] = MappingProxyType(
    {
        "cipher": _KorPrompt(
            "You are an intelligent assistant that specializes in encryption and decryption tasks. "
            "Below are the rules for a specific cipher. When responding, please ensure that your "
            "output adheres to the specified encryption and decryption rules and format.",
            (
                "Identify the relevant properties and objects specified in the rule, including the "
                "plaintext, keyword, and ciphertext.",
                "Follow the specified encryption or decryption operations precisely as described in the rules.",
                "Ensure your output is formatted according to the specified notation and symbols.",
            ),
            "Cipher",
        ),
        "counterfactual": _KorPrompt(
            "You are an advanced assistant with expertise in storytelling and rule-based reasoning. "
            "Your task is to carefully analyze the provided story, which includes specific rules and "
            "details, and use this information to accurately answer related questions.",
            (
                "Thoroughly review the story to identify and understand the relevant details and rules.",
                "Use the context provided by the story to offer precise and insightful answers.",
                "Ensure your responses align with the rules and information given in the story.",
            ),
            "Story",
        ),
        "logic": _KorPrompt(
            "You are an intelligent assistant that helps with various logical reasoning tasks. Below "
            "is a custom-defined rule for a specific type of logic. When responding, please ensure "
            "that your output adheres to the specified logical rules and format.",
            (
                "Identify the relevant properties and objects as specified in the rule.",
                "Apply the given logical operations or reasoning patterns.",
                "Ensure your output is formatted according to the specified notation and symbols.",
            ),
            "Logic",
        ),
        "operation": _KorPrompt(
            "You are an intelligent assistant specializing in evaluating custom operations. Below is "
            "a specific rule defined for a custom operation. Your task is to apply this rule "
            "accurately to the provided question.",
            (
                "Carefully read and understand the definitions of the new operations in the rule.",
                "If the question does not specifically ask for it, your answer should be a number or "
                "a group of numbers.",
                "Double-check your final answer to ensure it follows the rule accurately.",
            ),
            "Operation",
        ),
        "puzzle": _KorPrompt(
            "You are an intelligent assistant specializing in solving custom puzzle problems. Below "
            "is a specific rule defined for a custom puzzle. Your task is to apply this rule "
            "accurately to the provided question.",
            (
                "Thoroughly understand the rule provided. If needed, break down the rule into simpler"
                " components or steps.",
                "Apply the rule carefully to address the question presented.",
                "Verify your answer to ensure it aligns with the rule and the context of the puzzle.",
            ),
            "Puzzle",
        ),
    }
)
_KOR_OPTIONS = re.compile(r"^Options?:\s*(A\..*?)\s*(?=^Provide your|\Z)", re.MULTILINE | re.DOTALL)
_KNIGHTS_FORMAT = (
    "End your answer with one line per person, in the order they were introduced, "
    "each of the form `<name> is a knight` or `<name> is a knave`."
)


def _join_rules(rows: Iterable[Row]) -> Iterator[Row]:
    """Give each sample the text of its rule, from the rule.jsonl beside it, unless it has it already."""
    rules: dict[Path, dict[str, str]] = {}
    for row in rows:
        if row.has("rule_content"):
            yield row
            continue
        if row.file is None:
            row.refuse("has no rule_content: join rule.jsonl and sample.jsonl by rule_id")
        folder = row.file.parent
        if folder not in rules:
            lines = [Row(values, where, "", "") for where, values in read_table(folder / "rule.jsonl")]
            rules[folder] = {line.word("idx"): line.text("rule_content") for line in lines}
        wanted = row.word("rule_id")
        if wanted not in rules[folder]:
            row.refuse(f"follows rule {shown(wanted)}, which {folder / 'rule.jsonl'} does not have")
        yield row.with_values({"rule_content": rules[folder][wanted]})


def _korbench(row: Row) -> Asked | LeftOut:
    """KOR-Bench: the official zero-shot prompt; the answer is what [[ ]] encloses."""
    task = row.text("task")
    if task not in _KOR_PROMPTS:
        row.refuse(f"has the task {shown(task)}: KOR-Bench knows {', '.join(_KOR_PROMPTS)}")
    asked = row.text("question").strip()
    answer = row.word("answer")
    if answer.startswith("[[") and answer.endswith("]]"):
        answer = answer[1:-1] if "];[" in answer.replace(" ", "") else answer[2:-2].strip()
    if not answer:
        row.refuse("its answer is empty")
    meta = {"task": task, "rule_id": row.word("rule_id"), "idx": row.word("idx")}
    if task != "counterfactual":
        prompt = _KOR_PROMPTS[task].fill(row.text("rule_content").strip(), asked)
        kind, answer = number_or_expression(answer) if task == "operation" else ("text", answer)
        return Asked(prompt, kind, answer, meta=meta)
    asked, choices = _kor_options(row, asked)
    if answer not in tuple(LETTERS[: len(choices)]):
        row.refuse(f"its answer is {shown(answer)}, which is none of its {len(choices)} options")
    prompt = _KOR_PROMPTS[task].fill(row.text("rule_content").strip(), asked)
    return Asked(prompt, "choice", answer, choices, meta=meta)


def _kor_options(row: Row, asked: str) -> tuple[str, tuple[str, ...]]:
    """Give each option of a counterfactual question a line of its own; the set parts them by ##, # or a space."""
    found = _KOR_OPTIONS.search(asked)
    if not found:
        row.refuse("has no options")
    choices: list[str] = []
    rest = found[1]
    for letter in LETTERS:
        if not (begin := re.match(rf"[#\s]*{letter}\.\s*", rest)):
            break
        rest = rest[begin.end() :]
        end = re.search(rf"[#\s]+{chr(ord(letter) + 1)}\.|$", rest, re.DOTALL)
        cut = end.start() if end else len(rest)
        choices.append(rest[:cut].strip())
        rest = rest[cut:]
    if rest.strip("# \n") or len(choices) < 2:
        row.refuse(f"has options that cannot be told apart: {shown(found[1])}")
    return re.sub(r"\s*##\s*", "\n", asked).replace("Options: ", "Options:\n"), tuple(choices)


def _knights(row: Row) -> Asked | LeftOut:
    """Knights and Knaves: who is what, everyone in the order of their introduction."""
    names, knights = row.texts("names"), row.items("solution")
    if len(names) != len(knights) or len(names) < 2:
        row.refuse(f"has {len(names)} names and a solution for {len(knights)}")
    if not all(isinstance(knight, bool) for knight in knights):
        row.refuse("has a solution that is not true or false for everyone")
    said = [f"{name} is a {'knight' if knight else 'knave'}" for name, knight in zip(names, knights, strict=True)]
    question = f"{row.text('quiz').strip()}\n\n{_KNIGHTS_FORMAT}"
    return Asked(question, "text", ", ".join(said), meta={"people": len(names)} | row.some("index"))


def _winogrande(row: Row) -> Asked | LeftOut:
    """WinoGrande: which of two words fills the blank; the official test set has no answers."""
    if not row.has("answer"):
        return LeftOut("no answer is published")
    stem = f"Which option fills the blank (_) so that the sentence makes sense?\n\n{row.text('sentence').strip()}"
    options = (row.text("option1"), row.text("option2"))
    return multiple_choice(row, stem, options, row.whole("answer") - 1, meta=row.some("qID"))


def _brainteaser(row: Row) -> Asked | LeftOut:
    """BRAINTEASER: the options in the order that its authors shuffled them into."""
    if row.has("choice_list"):
        options = row.words("choice_list")
    else:
        each = tuple(row.word(name) for name in ("answer", "distractor1", "distractor2", "distractor(unsure)"))
        order = row.items("choice_order")
        if sorted(order, key=str) != [0, 1, 2, 3]:
            row.refuse(f"choice_order is {shown(order)}, not an order of 4 options")
        options = tuple(each[int(str(place))] for place in order)
    if not row.has("label"):
        return LeftOut("no answer is published beside the question")
    return multiple_choice(row, row.text("question"), options, row.whole("label"), ask=ASK_OPTION, meta=row.some("id"))


def _people(path: Path) -> str:
    return path.name.partition(".")[0].partition("_num")[0].partition("-0")[0]


KORBENCH = Benchmark(
    name="korbench",
    title="KOR-Bench",
    category="logic",
    licence="Apache-2.0",
    published="KOR-Bench/KOR-Bench, data/TASK/sample.jsonl with rule.jsonl beside it",
    to_question=_korbench,
    files={"test": ("**/sample.jsonl",)},
    unfold=_join_rules,
    part=lambda path: path.parent.name,
)
KANDK = Benchmark(
    name="kandk",
    title="Knights and Knaves",
    category="logic",
    licence="CC-BY-NC-SA-4.0 (its puzzles; AlphaPav/mem-kk-logic makes new ones, MIT)",
    published="AlphaPav/mem-kk-logic makes data/SPLIT/clean/peopleN_numM.jsonl; on the hub: K-and-K/knights-and-knaves",
    to_question=_knights,
    files={
        split: (
            f"**/{split}/clean/people*.jsonl",
            f"**/{split}/people*.jsonl",
            f"{split}*.jsonl",
            f"**/{split}/*.parquet",
        )
        for split in ("test", "train")
    },
    hub=tuple(
        HubTable("K-and-K/knights-and-knaves", split, f"{people}ppl", split, f"people{people}")
        for split in ("test", "train")
        for people in range(2 if split == "test" else 3, 9)
    ),
    part=_people,
)
WINOGRANDE = Benchmark(
    name="winogrande",
    title="WinoGrande",
    category="logic",
    licence="CC-BY",
    published="allenai/winogrande: dev.jsonl of winogrande_1.1, the labelled set, is our test; on the hub: "
    "allenai/winogrande",
    to_question=_winogrande,
    files=tables({"test": ("dev", "validation"), "train": ("train_xl", "train"), "unlabelled": "test"}),
    hub=(
        HubTable("allenai/winogrande", "winogrande_xl", "validation", "test"),
        HubTable("allenai/winogrande", "winogrande_xl", "train", "train"),
    ),
)
BRAINTEASER = Benchmark(
    name="brainteaser",
    title="BRAINTEASER",
    category="logic",
    licence="see its repository",
    published="1171-jpg/BrainTeaser, data/BTDATA.zip: sentence_puzzle.npy and word_puzzle.npy; on the hub: "
    "tasksource/brainteasers",
    to_question=_brainteaser,
    files={
        "test": ("**/*_puzzle.npy", *tables({"test": ("*puzzle", "*", "test")})["test"]),
        "train": ("**/?P*train.npy", *tables({"train": "train"})["train"]),
    },
    hub=(
        HubTable("tasksource/brainteasers", "SP", "train", "test", "sentence_puzzle"),
        HubTable("tasksource/brainteasers", "WP", "train", "test", "word_puzzle"),
    ),
    part=lambda path: path.name.partition(".")[0],
)
