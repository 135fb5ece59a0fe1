#!/usr/bin/env bash
# Table 2, the full method: class-agnostic, the two GrabCut baselines, MaskX R-CNN and the oracle, all jointly trained.
#   [INIT=backbone|RUN] ./pipelines/table2.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# The lower half of the table is this recipe in a project whose [detect] has backbone = "resnet101".
joint_from
say "GrabCut masks of the training boxes"
grabcut=$(maskx convert teacher grabcut --keep none --out data/grabcut.json)
detector_and_val
joint "$SPLIT_A" --init "$INIT" --embedding none
say "Faster R-CNN tested with GrabCut"
maskx evaluate --teacher grabcut --out runs/transfer/grabcut --split all --seen "$SPLIT_A" >&2
runs+=(runs/transfer/grabcut)
MASKX_DATA_TRAIN_ANNOTATIONS=$grabcut joint all --init "$INIT" --embedding none --class-specific --name trained-on-grabcut
joint "$SPLIT_A" --init "$INIT" --embedding cls+box --form "$FORM" --mask-branch fcn+mlp
if [ -n "$SPLIT_B" ]; then
  joint "$SPLIT_B" --init "$INIT" --embedding none
  joint "$SPLIT_B" --init "$INIT" --embedding cls+box --form "$FORM" --mask-branch fcn+mlp
  joint all --init "$INIT" --embedding none --class-specific
else
  say "Skipped: the fully supervised oracle, which needs the masks of all categories"
fi
table "Table 2: the full method" --all-figures
