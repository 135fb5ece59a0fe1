#!/usr/bin/env bash
# Choose a design on halves of the seen categories, and try it with fewer and with looser boxes (see design_study_choice.py).
#   benchmarks/design_study_choice.sh [FOLDER] [--what choice boxes] [--seeds 0 1 2] [--jobs 2]   (default: design-study/)
# After benchmarks/design_study.sh --data photographs, whose cache it takes. Interrupted, it continues.
set -euo pipefail
study=design-study extras=[dev]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/design_study_choice.py" "$folder" --shared "${SHARED:-$checkout/../shared}" "$@"
