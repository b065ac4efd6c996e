#!/bin/sh
# Make every figure and table of the README's "Evidence" section from the data at hand.
#
#   evals/reproduce_recipe.sh DATA [OUT]     DATA holds outcomes/ and questions/ (*.jsonl.gz); OUT (default: evidence) gets the reports
set -eu
data=${1:?"usage: evals/reproduce_recipe.sh DATA [OUT]"}
out=${2:-evidence}
here=$(cd "$(dirname "$0")/.." && pwd)
python="$here/.venv/bin/python"
mkdir -p "$out"

six=codegemma-7b,gemma-2-9b-it,llama-3.1-8b-instruct,llama3-chatqa-1.5-8b,mistral-7b-instruct-v0.3,qwen2.5-7b-instruct

report() { # name, outcome file, further options
    name=$1
    file=$2
    shift 2
    echo "-- $name"
    "$python" -m avengers_edge calibrate report --outcomes "$data/outcomes/$file.jsonl.gz" --seeds 5 \
        --out "$out/$name.html" --json "$@" > "$out/$name.json"
}

report llmrouter llmrouter --members "$six"
report kor_bench kor_bench
report eq_bench eq_bench
echo "-- starter"
tables="$here/models/tables"
"$python" "$here/evals/ballot_evidence.py" --outcomes "$tables/starter.outcomes.jsonl.gz" \
    --votes "$tables/starter.votes.jsonl.gz" --questions "$data/questions" | tee "$out/starter.txt"
"$python" -m avengers_edge calibrate fit --outcomes "$tables/starter.outcomes.jsonl.gz" --votes "$tables/starter.votes.jsonl.gz" \
    --questions "$data/questions" --partly --out "$out/starter.safetensors" | tee -a "$out/starter.txt"
"$python" "$here/evals/starter_questions.py" --data "$data/questions" --out "$out/fit.jsonl" --held-out "$out/live.jsonl"
gunzip -c "$tables/starter.live.jsonl.gz" > "$out/starter.live.jsonl"
"$python" "$here/evals/measure_live.py" --questions "$out/live.jsonl" --out "$out/starter.live.jsonl" --report |
    tee "$out/starter.live.txt"
echo "-- ablations"
"$python" "$here/evals/ablate_recipe.py" --data "$data" --members "$six" | tee "$out/ablations.txt"
echo "-- costs"
"$python" "$here/benchmarks/bench_table.py" | tee "$out/costs.txt"
