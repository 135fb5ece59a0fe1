#!/usr/bin/env bash
# What an RoI cache of 8-bit features costs in AP: the quickstart's models, each from a float16 and an int8 cache of one detector.
#   benchmarks/eight_bit.sh [FOLDER] [--seeds 0 1 2] [--jobs 2]      (default: eight-bit/ in the checkout)
# Interrupted, the same command continues.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$checkout/.venv/bin/python}
if [ ! -x "$python" ] && [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$checkout/.venv"
  "$python" -m pip install --quiet --editable "$checkout"
fi
# Two single-threaded fits side by side on two cores: tensors this small gain little from a second thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
folder=$checkout/eight-bit
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
  folder=$1
  shift
fi
exec "$python" "$checkout/benchmarks/eight_bit.py" "$folder" "$@"
