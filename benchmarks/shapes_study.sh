#!/usr/bin/env bash
# The paper's Tables 1a to 1d and its baselines on generated data, both directions, mean and spread over seeds.
#   benchmarks/shapes_study.sh [FOLDER] [--seeds 0 1 2] [--jobs 2]      (default: shapes-study/ in the checkout)
# A seed has one detector and one RoI cache for all stage-wise rows. Interrupted, the same command continues.
set -euo pipefail
study=shapes-study extras=[grabcut]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
# Two single-threaded fits side by side on two cores: tensors this small gain little from a second thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/shapes_study.py" "$folder" "$@"
