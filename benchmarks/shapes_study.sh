#!/usr/bin/env bash
# The paper's Tables 1a to 1d and its baselines on generated data, both directions, mean and spread over seeds.
#   benchmarks/shapes_study.sh [FOLDER] [--seeds 0 1 2] [--jobs 2]      (default: shapes-study/ in the checkout)
# A seed has one detector and one RoI cache for all stage-wise rows. Interrupted, the same command continues.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$checkout/.venv/bin/python}
if [ ! -x "$python" ] && [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$checkout/.venv"
  "$python" -m pip install --quiet --editable "$checkout[grabcut]"
fi
# Two single-threaded fits side by side on two cores: tensors this small gain little from a second thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
folder=$checkout/shapes-study
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
  folder=$1
  shift
fi
exec "$python" "$checkout/benchmarks/shapes_study.py" "$folder" "$@"
