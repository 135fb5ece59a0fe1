#!/usr/bin/env bash
# Objects365: boxes of its 365 categories, masks of COCO's 80; masks for all of them.
#   [BACKBONE=resnet101] [GPUS=N] [IMAGES="a.jpg b.jpg"] ./pipelines/objects365.sh [PROJECT_FOLDER]
# data/objects365 and data/coco of the project folder hold what their archives do (docs/how-to/formats.md).
coco=data/coco

to_coco_format() {
  say "Objects365 to COCO format"
  maskx convert from objects365 data/objects365 --out data/o365 >&2
}

make_project() { # with a schedule of a few passes, where the folder is no project yet
  maskx init --train-images data/objects365/train --train-annotations data/o365/train.json \
    --val-images data/objects365/val --val-annotations data/o365/val.json \
    --masks-train-images "$coco/train2017" --masks-train-annotations "$coco/annotations/instances_train2017.json" \
    --masks-val-images "$coco/val2017" --masks-val-annotations "$coco/annotations/instances_val2017.json" \
    --masks-category-map data/o365/category-map.json >&2
  detector_table 16 0.02 500000 "350000, 450000"
}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
default_design --embedding cls+box
# IMAGES without quotes: it is a list of files
maskx predict ${IMAGES:-"$coco/val2017"} --model "${runs[0]}" --limit 50 --overwrite >&2
table "AP on COCO val2017"
