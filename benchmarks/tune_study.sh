#!/usr/bin/env bash
# Does `maskx tune` pick well, and does its interval hold the truth? On photographs, in both directions (see tune_study.py).
#   benchmarks/tune_study.sh [FOLDER] [--out tune-study] [--halves voc nonvoc] [--designs NAME ...] [--folds 3] [--jobs 2]
# After benchmarks/design_study.sh --data photographs in FOLDER (default: design-study/), whose cache and fits it takes as the
# truth and leaves as they are. Interrupted, it continues.
set -euo pipefail
study=design-study extras=[dev]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/tune_study.py" "$folder" "$@"
