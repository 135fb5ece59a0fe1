#!/usr/bin/env bash
# What an RoI cache of 8-bit features costs in AP: the quickstart's models, each from a float16 and an int8 cache of one detector.
#   benchmarks/eight_bit.sh [FOLDER] [--seeds 0 1 2] [--jobs 2]      (default: eight-bit/ in the checkout)
# Interrupted, the same command continues.
set -euo pipefail
study=eight-bit extras=
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
# Two single-threaded fits side by side on two cores: tensors this small gain little from a second thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/eight_bit.py" "$folder" "$@"
