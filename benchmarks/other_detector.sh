#!/usr/bin/env bash
# Real images and a detector that maskx has never seen: docs/how-to/other_detector.py, then every embedding and form of T.
#   benchmarks/other_detector.sh [FOLDER] [--seeds 0 1 2 3 4]      (default: other-detector/ in the checkout)
# Needs coco-mini, yolox-nano and glove in SHARED (default: shared/ beside the checkout). Interrupted, it continues.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$checkout/.venv/bin/python}
if [ ! -x "$python" ] && [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$checkout/.venv"
  "$python" -m pip install --quiet --editable "$checkout[dev]"
fi
folder=$checkout/other-detector
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
  folder=$1
  shift
fi
exec "$python" "$checkout/benchmarks/other_detector.py" "$folder" --shared "${SHARED:-$checkout/../shared}" "$@"
