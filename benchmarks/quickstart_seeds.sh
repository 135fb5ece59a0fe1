#!/usr/bin/env bash
# The quickstart's table over several seeds of detector, export and mask models: mean and spread (one data set).
#   benchmarks/quickstart_seeds.sh [FOLDER] [SEED...]      (default: quickstart-seeds/ in the checkout, seeds 0 1 2)
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$checkout/quickstart-seeds}
shift || true
seeds=("${@:-0}")
[ $# -gt 0 ] || seeds=(0 1 2)
for seed in "${seeds[@]}"; do
  MASKX_DETECT_SEED=$seed MASKX_EXPORT_EMBEDDINGS_SEED=$seed MASKX_FIT_TRANSFER_SEED=$seed \
    "$checkout/pipelines/quickstart.sh" "$folder/seed-$seed" >&2
  (
    cd "$folder/seed-$seed"
    "$checkout/.venv/bin/maskx" compare runs/transfer/{agnostic,published,ours} --format csv >comparison.csv
  )
done
"$checkout/.venv/bin/python" "$checkout/benchmarks/mean_of_tables.py" "$folder"/seed-*/comparison.csv
