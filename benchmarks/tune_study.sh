#!/usr/bin/env bash
# How often does the interval of `maskx tune` hold the truth, in several small cases? And does it pick well, in large ones? (tune_study.py)
#   benchmarks/tune_study.sh [FOLDER] [--out tune-study] [--cases shapes-0:random-18-1 ...] [--halves voc nonvoc] [--designs NAME ...]
#                            [--folds 3] [--jobs 2]
# After benchmarks/design_study.sh in FOLDER (default: design-study/), whose caches it takes, and with --halves its fits as the truth;
# they are left as they are. Interrupted, it continues.
set -euo pipefail
study=design-study extras=[dev]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" "$checkout/benchmarks/tune_study.py" "$folder" "$@"
