#!/usr/bin/env bash
# Real images and a detector that maskx has never seen: docs/how-to/other_detector.py, then every embedding and form of T.
#   benchmarks/other_detector.sh [FOLDER] [--seeds 0 1 2 3 4]      (default: other-detector/ in the checkout)
# Needs coco-mini, yolox-nano and glove in SHARED (default: shared/ beside the checkout). Interrupted, it continues.
set -euo pipefail
study=other-detector extras=[dev]
source "$(dirname "${BASH_SOURCE[0]}")/study.sh"
exec "$python" "$checkout/benchmarks/other_detector.py" "$folder" --shared "${SHARED:-$checkout/../shared}" "$@"
