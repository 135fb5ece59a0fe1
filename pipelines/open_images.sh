#!/usr/bin/env bash
# Open Images: boxes of 600 categories, of which 350 have masks; masks for the other 250, and for all boxes of val.
#   [BACKBONE=resnet101] [GPUS=N] [IMAGES="a.jpg b.jpg"] ./pipelines/open_images.sh [PROJECT_FOLDER]
# data/open-images of the project folder holds what is downloaded (docs/how-to/formats.md).
images=data/open-images/images

to_coco_format() {
  say "Open Images to COCO format"
  maskx convert from open-images data/open-images --out data/oi >&2
}

make_project() { # with a schedule of a few passes, where the folder is no project yet
  maskx init --train-images "$images" --train-annotations data/oi/train.json \
    --val-images "$images" --val-annotations data/oi/val.json >&2
  detector_table 16 0.02 500000 "350000, 450000"
}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
default_design --embedding cls+box
say "Masks for the boxes of val that have none"
maskx annotate data/oi/val.json --model "${runs[0]}" --out open-images-val.json >&2
# IMAGES without quotes: it is a list of files
maskx predict ${IMAGES:-"$images/validation"} --model "${runs[0]}" --limit 50 --overwrite >&2
table "AP on Open Images' validation images"
