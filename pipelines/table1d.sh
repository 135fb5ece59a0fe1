#!/usr/bin/env bash
# Table 1d, stage-wise (sw) against joint training (e2e), and whether the mask loss may change the class weights.
#   [INIT=backbone|RUN] ./pipelines/table1d.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
joint_from
detector_and_cache
for split in "${splits[@]}"; do
  stage_wise "$split" --embedding none
  stage_wise "$split" --embedding cls+box --form "$FORM"
  joint "$split" --init "$INIT" --embedding none
  joint "$split" --init "$INIT" --embedding cls+box --form "$FORM" --no-stop-gradient
  joint "$split" --init "$INIT" --embedding cls+box --form "$FORM" --stop-gradient
done
table "Table 1d: the training strategy"
