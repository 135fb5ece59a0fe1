#!/usr/bin/env bash
# Section 5 and Figure 5: boxes of Visual Genome's 3000 categories, masks of COCO's 80; masks for all of them.
#   [BACKBONE=resnet101] [GPUS=N] [IMAGES="a.jpg b.jpg"] ./pipelines/visual_genome.sh [PROJECT_FOLDER]
# data/visual-genome and data/coco of the project folder hold what their archives do (docs/how-to/visual-genome.md).
coco=data/coco

to_coco_format() {
  say "Visual Genome to COCO format"
  maskx convert visual-genome --coco-val "$coco/annotations/instances_val2017.json" >&2
}

make_project() { # with the paper's schedule, where the folder is no project yet
  maskx init --train-images data/visual-genome --train-annotations data/vg3k/train.json \
    --val-images data/visual-genome --val-annotations data/vg3k/val.json \
    --masks-train-images "$coco/train2017" --masks-train-annotations "$coco/annotations/instances_train2017.json" \
    --masks-val-images "$coco/val2017" --masks-val-annotations "$coco/annotations/instances_val2017.json" \
    --masks-category-map data/vg3k/coco-categories.json >&2
  detector_table 8 0.01 180000 "120000, 160000"
}

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
stage_wise masked --embedding cls+box --form "$FORM" --mask-branch fcn+mlp
say "Figure 5: images of COCO val2017, which is in nobody's training data"
# IMAGES without quotes: it is a list of files
maskx predict ${IMAGES:-"$coco/val2017"} --model "${runs[0]}" --limit 50 --overwrite >&2
maskx contact-sheet ${IMAGES:-"$coco/val2017"} --model "${runs[0]}" --out figure5.png --overwrite
table "AP on COCO val2017"
