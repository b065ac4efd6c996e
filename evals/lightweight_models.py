"""Published accuracies of twenty models of 7 to 9 billion parameters, and the teams that are chosen by them.

From LLMRouterBench (arXiv 2601.07206; repository ynulihao/LLMRouterBench, MIT), Table 6: percent right on fifteen
benchmarks. The teams' tables spread them over questions; see `make_tables.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

SETS = (
    *("aime", "math500", "mathbench", "mbpp", "humaneval", "livecodebench", "korbench", "kandk", "bbh", "mmlupro"),
    *("gpqa", "finqa", "medqa", "emorynlp", "meld"),
)
PERCENT = {
    "deephermes-3-llama-3-8b-preview": "0.00 29.80 38.67 54.00 51.22 13.08 31.92 15.57 49.07 36.66 "
    "27.78 49.96 57.58 38.16 47.16",
    "deepseek-r1-0528-qwen3-8b": "68.33 94.20 90.00 35.01 25.00 64.74 56.00 60.86 89.44 70.83 "
    "60.61 70.36 81.62 38.74 51.06",
    "deepseek-r1-distill-qwen-7b": "40.00 88.40 88.00 53.59 45.12 41.14 45.36 50.86 69.17 47.75 "
    "35.86 63.30 34.80 27.55 34.90",
    "fin-r1": "11.67 75.40 66.67 68.99 77.44 6.82 33.20 19.00 61.57 48.65 27.27 68.70 63.24 34.72 50.41",
    "glm-z1-9b-0414": "61.67 94.60 95.33 62.94 60.37 61.52 53.84 47.57 84.26 67.33 56.06 68.70 71.01 35.01 45.86",
    "intern-s1-mini": "76.67 91.40 64.67 44.05 43.29 26.26 58.16 79.43 83.06 56.04 48.99 70.36 68.42 36.87 50.41",
    "llama-3.1-8b-instruct": "8.33 49.80 46.67 60.68 61.59 16.78 24.16 13.71 58.70 46.65 26.26 52.92 68.26 33.72 48.05",
    "llama-3.1-8b-ultramedical": "0.00 42.40 25.33 53.90 56.10 13.36 14.32 15.43 38.06 40.26 "
    "23.23 54.58 68.50 31.71 42.21",
    "llama-3.1-nemotron-nano-8b-v1": "45.00 90.80 50.00 61.50 62.80 46.07 29.52 22.86 26.20 41.46 "
    "33.84 31.12 41.48 29.41 38.80",
    "mimo-7b-rl-0530": "0.00 26.60 11.33 56.78 52.44 6.45 29.84 4.00 29.91 20.78 4.04 17.00 29.38 28.12 39.69",
    "minicpm4.1-8b": "68.33 93.40 95.33 34.09 32.93 63.70 30.96 62.71 88.06 69.93 52.02 67.22 65.36 35.72 51.30",
    "nvidia-nemotron-nano-9b-v2": "70.00 93.60 94.67 42.09 48.17 65.50 56.80 70.71 86.48 70.13 "
    "52.02 71.23 74.71 39.02 46.75",
    "openthinker3-7b": "41.67 85.60 62.67 11.81 7.32 44.17 11.04 17.29 42.50 42.06 31.82 61.55 52.08 22.81 33.44",
    "qwen2.5-coder-7b-instruct": "1.67 65.20 67.33 75.98 77.44 27.87 34.24 20.43 57.04 45.35 "
    "32.32 63.21 48.78 37.02 52.60",
    "qwen3-8b": "76.67 93.60 95.33 54.72 62.20 67.68 53.92 77.00 83.98 69.13 57.58 74.46 79.18 38.74 54.22",
    "cogito-v1-preview-llama-8b": "1.67 51.20 56.00 51.95 69.51 17.25 42.96 24.14 69.44 57.04 "
    "35.35 61.64 65.75 37.45 54.95",
    "gemma-2-9b-it": "1.67 48.20 54.67 62.42 64.63 17.25 34.64 9.71 60.74 52.95 27.78 64.60 63.79 39.74 52.60",
    "glm-4-9b-chat": "1.67 49.80 49.33 62.83 74.39 16.87 37.28 12.43 46.94 47.05 23.23 57.28 62.14 39.02 55.28",
    "granite-3.3-8b-instruct": "6.67 69.00 59.33 36.55 51.22 14.22 32.00 21.71 31.39 44.66 "
    "31.82 62.34 61.19 36.59 50.32",
    "internlm3-8b-instruct": "6.67 69.00 60.00 60.47 65.85 21.23 33.84 25.86 61.94 55.14 33.84 61.99 67.24 36.87 50.97",
}
REASON = frozenset(
    {
        *("deepseek-r1-0528-qwen3-8b", "deepseek-r1-distill-qwen-7b", "glm-z1-9b-0414", "minicpm4.1-8b"),
        *("nvidia-nemotron-nano-9b-v2", "qwen3-8b"),
    }
)
"""Those that think before they answer, of the models that a team has."""

TRIO = ("qwen3-8b", "qwen2.5-coder-7b-instruct", "deepseek-r1-0528-qwen3-8b")
OCTET = (*TRIO, "glm-4-9b-chat", "nvidia-nemotron-nano-9b-v2", "gemma-2-9b-it", "glm-z1-9b-0414", "minicpm4.1-8b")
"""By `forward_selection` among those that have a file; the last one adds nothing to the best on any set."""

WITHOUT_A_FILE = frozenset({"intern-s1-mini", "mimo-7b-rl-0530"})
"""Of Intern-S1-mini its publisher has Q8_0 and 16 bits, and no Q4_K_M could be found of those who usually make them.
The pinned llama.cpp converts MiMo V2 and no first MiMo."""

QUESTION_FILES = tuple({"mathbench": "gsm8k", "gpqa": "mmlu", "livecodebench": None}.get(name, name) for name in SETS)
"""The question files that stand for the sets: school mathematics for MathBench and MMLU for GPQA. None has questions
like those of LiveCodeBench, whose column is left out."""


def figures_of(models: Iterable[str]) -> dict[str, str]:
    """Give the lines of these models."""
    return {model: PERCENT[model] for model in models}


def by_set(files: Sequence[str | None], percent: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Turn lines of percents into shares by question file and model."""
    rows = {model: line.split() for model, line in percent.items()}
    return {
        file: {model: float(row[place]) / 100 for model, row in rows.items()}
        for place, file in enumerate(files)
        if file is not None
    }


def best_per_set(models: Iterable[str]) -> float:
    """Average the best of the models over the sets: what a router reaches that knows which of them is best at each."""
    columns = zip(*(map(float, PERCENT[model].split()) for model in models), strict=True)
    return sum(map(max, columns)) / len(SETS)


def forward_selection(size: int, pool: Iterable[str]) -> tuple[str, ...]:
    """Choose models one by one, each the one that adds the most; where several add the same, the best by itself."""
    left, chosen = sorted(pool), list[str]()
    while len(chosen) < size:
        gains = {model: (round(best_per_set([*chosen, model]), 9), best_per_set([model])) for model in left}
        chosen.append(max(left, key=gains.__getitem__))
        left.remove(chosen[-1])
    return tuple(chosen)
