#!/usr/bin/env bash
# All that docs/explanation/scale.md estimates of a GPU, measured on one, in a few minutes: random weights, generated images.
#   benchmarks/gpu.sh [--tiny] [--only stage-2 ...] [--folder DIR]
# Each row is printed as it is done. With --tiny the same program in small sizes, also where there is no GPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-$here/../.venv/bin/python}
[ -x "$python" ] || python=python3
export PYTHONPATH=$here/..${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -u "$here/gpu.py" "$@"
