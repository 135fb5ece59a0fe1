#!/usr/bin/env bash
# Table 1c, the class-agnostic MLP mask branch beside the FCN of the baseline and of transfer.
#   ./pipelines/table1c.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
for split in "${splits[@]}"; do
  stage_wise "$split" --embedding none --mask-branch fcn
  stage_wise "$split" --embedding none --mask-branch fcn+mlp
  stage_wise "$split" --embedding cls+box --form "$FORM" --mask-branch fcn
  stage_wise "$split" --embedding cls+box --form "$FORM" --mask-branch fcn+mlp
done
table "Table 1c: the MLP mask branch"
