#!/usr/bin/env bash
# Every stage on generated data, on a CPU: install, data, detector, RoI cache, three mask models, a table, overlays.
#   ./pipelines/quickstart.sh [PROJECT_FOLDER]     (default: quickstart/ in the checkout)
# Interrupted, it continues where it stopped; finished stages are not run again.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
project=${1:-$checkout/quickstart}
say() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }

if [ ! -x "$checkout/.venv/bin/maskx" ]; then
  say "Installing into $checkout/.venv"
  [ -x "$checkout/.venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$checkout/.venv"
  "$checkout/.venv/bin/python" -m pip install --quiet --upgrade pip
  "$checkout/.venv/bin/python" -m pip install --quiet --editable "$checkout"
fi
maskx() { "$checkout/.venv/bin/maskx" "$@"; }
began=$SECONDS

say "Data: generated shapes, masks for half of the categories"
[ -f "$project/maskx.toml" ] || maskx init --shapes --project "$project"
cd "$project"
maskx doctor | tail -n 4

say "Stage 1: Faster R-CNN on the boxes of all categories"
maskx detect train

say "RoI cache"
maskx export-embeddings

say "Stage 2: class-agnostic baseline, T as published, T conditioned"
maskx fit-transfer --embedding none --name agnostic
maskx fit-transfer --embedding cls --form published --name published
maskx fit-transfer --embedding cls --form conditioned --name conditioned

say "Evaluation, from the cached detections"
for name in agnostic published conditioned; do
  maskx evaluate --model "runs/transfer/$name" --split all >"runs/transfer/$name/evaluation.txt"
done
maskx compare runs/transfer/agnostic runs/transfer/published runs/transfer/conditioned --format markdown >comparison.md

say "Overlays of the conditioned model: green has masks in training, red has none"
maskx predict data/shapes/val --model runs/transfer/conditioned --overwrite --limit 16

say "Mask AP on categories with masks (seen) and without (unseen), after $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
maskx compare runs/transfer/agnostic runs/transfer/published runs/transfer/conditioned
echo
echo "Table: $project/comparison.md    Overlays: $project/predictions"
