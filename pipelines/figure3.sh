#!/usr/bin/env bash
# Figure 3, random splits of the categories: the baseline and T on each, all from one RoI cache.
#   [SIZES="20 30 40 50 60"] [TRIALS="1 2 3 4 5"] ./pipelines/figure3.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# Sizes of the set with masks: the paper's of COCO's 80 categories, and the same fractions of the 36 of shapes.
if [ "$on_shapes" = yes ]; then SIZES=${SIZES:-9 14 18 22 27}; else SIZES=${SIZES:-20 30 40 50 60}; fi
detector_and_cache
for trial in ${TRIALS:-1 2 3 4 5}; do
  for size in $SIZES; do
    stage_wise "random-$size-$trial" --embedding none
    stage_wise "random-$size-$trial" --embedding cls+box --form "$FORM"
  done
done
say "Figure 3: random splits, in $PWD/figure3.svg"
maskx plot-splits "${runs[@]}" --out figure3.svg --overwrite
