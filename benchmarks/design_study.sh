#!/usr/bin/env bash
# Designs of T, mask heads and box losses side by side, on generated data and on photographs, both directions, over seeds.
#   benchmarks/design_study.sh [FOLDER] [--data shapes photographs] [--seeds 0 1 2] [--jobs 2]   (default: design-study/)
# Photographs need coco-mini and yolox-nano in SHARED (default: shared/ beside the checkout). Interrupted, it continues.
set -euo pipefail
study=design-study extras=[dev]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
# Single-threaded fits side by side: tensors this small gain little from a second thread.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/design_study.py" "$folder" --shared "${SHARED:-$checkout/../shared}" "$@"
