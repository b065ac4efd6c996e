#!/bin/sh
# Make every figure and table of the README's "Evidence" section from the data at hand.
#
#   scripts/reproduce_recipe.sh DATA [OUT]     DATA holds outcomes/ and questions/ (*.jsonl.gz); OUT (default: evidence) gets the reports
set -eu
data=${1:?"usage: scripts/reproduce_recipe.sh DATA [OUT]"}
out=${2:-evidence}
here=$(cd "$(dirname "$0")/.." && pwd)
python="$here/.venv/bin/python"
mkdir -p "$out"

six=codegemma-7b,gemma-2-9b-it,llama-3.1-8b-instruct,llama3-chatqa-1.5-8b,mistral-7b-instruct-v0.3,qwen2.5-7b-instruct
starter=qwen2.5-coder-1.5b-instruct:brief,qwen2.5-coder-1.5b-instruct:direct,qwen2.5-coder-0.5b-instruct:direct
starter=$starter,smollm2-135m-instruct:direct

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
"$python" -m avengers_edge calibrate report --outcomes "$here/models/tables/starter.outcomes.jsonl.gz" \
    --questions "$data/questions" --members "$starter" --seeds 5 --out "$out/starter.html" --json > "$out/starter.json"
"$python" "$here/scripts/starter_evidence.py" --questions "$data/questions" | tee "$out/starter.txt"
"$python" "$here/scripts/votes_evidence.py" | tee "$out/votes.txt"
"$python" -m avengers_edge calibrate fit --outcomes "$here/models/tables/starter.outcomes.jsonl.gz" \
    --questions "$data/questions" --members "$starter" --votes "$here/models/tables/starter.votes-0.4.jsonl.gz" \
    --out "$out/starter.safetensors" | tee -a "$out/votes.txt"
"$python" "$here/scripts/starter_questions.py" --data "$data/questions" --out "$out/fit.jsonl" --held-out "$out/live.jsonl"
for run in starter.live starter.live-0.7; do
    gunzip -c "$here/models/tables/$run.jsonl.gz" > "$out/$run.jsonl"
    "$python" "$here/scripts/measure_live.py" --questions "$out/live.jsonl" --out "$out/$run.jsonl" --report |
        tee "$out/$run.txt"
done
echo "-- ablations"
"$python" "$here/scripts/ablate_recipe.py" --data "$data" --members "$six" | tee "$out/ablations.txt"
echo "-- costs"
"$python" "$here/scripts/bench_table.py" | tee "$out/costs.txt"
