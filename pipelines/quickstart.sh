#!/usr/bin/env bash
# Every stage on generated data, on a CPU: install, data, detector, RoI cache, three mask models, table, overlays, report.
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
end() { # what runs in the background saves its state and stops too, as far as it has not ended by itself
  kill $(jobs -p) 2>/dev/null || true
  wait
  exit "$1"
}
trap 'end 130' INT
trap 'end 143' TERM
export PATH="$checkout/.venv/bin:$PATH"
wait_for() { # wait_for JOB...: all of them; fails if one did
  local job failed=0
  for job in "$@"; do wait "$job" || failed=1; done
  return "$failed"
}
in_twos() { # in_twos COMMAND: two processes share its images, as under torchrun, which starts slower; on any machine two
  local port jobs=() rank
  port=$(python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
  for rank in 0 1; do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port maskx "$@" &
    jobs+=("$!")
  done
  wait_for "${jobs[@]}"
}
began=$SECONDS
# These tensors are tiny: a second thread brings less than a second process, and costs a tenfold where something else runs.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Where glibc would hand each step's memory back: all images are of one size here, so that the next step needs the same.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483647

say "Data: generated shapes, masks for half of the categories"
[ -f "$project/maskx.toml" ] || maskx init --shapes --project "$project"
cd "$project"
maskx doctor | sed -n '/validation images/,$p' # what is below the table

say "Stage 1: Faster R-CNN on the boxes of all categories"
in_twos detect train

say "RoI cache"
in_twos export-embeddings

say "Stage 2 and its evaluation, three models side by side: ours, T as published, class-agnostic baseline"
mkdir -p logs
fit() { # in place of the shell that it is called in, so that a signal reaches it; ours takes longest, so it goes first
  case $1 in
    ours) exec maskx fit-transfer --embedding cls --name ours ;; # the defaults
    published) exec nice maskx fit-transfer --embedding cls --form published --box-loss none --no-coordinates --name published ;;
    agnostic) exec nice maskx fit-transfer --embedding none --box-loss none --no-coordinates --name agnostic ;;
  esac
}
fit_and_evaluate() { # from the cached detections
  trap 'kill "$!" 2>/dev/null || true; wait; exit 143' TERM
  fit "$1" >"logs/fit-$1.txt" 2>&1 &
  wait "$!"
  maskx evaluate --model "runs/transfer/$1" --split all --per-category >"logs/evaluate-$1.txt" 2>&1 &
  wait "$!"
}
jobs=()
for name in ours published agnostic; do
  fit_and_evaluate "$name" &
  jobs+=("$!")
done
wait_for "${jobs[@]}" || { tail -n 5 logs/fit-*.txt logs/evaluate-*.txt >&2; exit 1; }
tail -qn 2 logs/fit-*.txt >&2
maskx compare runs/transfer/agnostic runs/transfer/published runs/transfer/ours --format markdown >comparison.md

say "Overlays of our model (green has masks in training, red has none), and the report: tables, plots, masks beside the truth"
maskx predict data/shapes/val --model runs/transfer/ours --overwrite --limit 16 >logs/predict.txt 2>&1 &
maskx report runs/transfer/agnostic runs/transfer/published runs/transfer/ours --overwrite
wait "$!" || { tail -n 5 logs/predict.txt >&2; exit 1; }

say "Mask AP on categories with masks (seen) and without (unseen), after $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s"
maskx compare runs/transfer/agnostic runs/transfer/published runs/transfer/ours
echo
echo "Report: $project/report.html    Table: $project/comparison.md    Overlays: $project/predictions"
