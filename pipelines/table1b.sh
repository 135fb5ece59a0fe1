#!/usr/bin/env bash
# Table 1b, the structure of T: 1 to 3 layers, ReLU or LeakyReLU; beyond the paper, the default.
#   ./pipelines/table1b.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
for split in "${splits[@]}"; do
  stage_wise "$split" --embedding cls+box --form published --layers 1 --activation none
  stage_wise "$split" --embedding cls+box --form published --layers 2 --activation relu
  stage_wise "$split" --embedding cls+box --form published --layers 2 --activation leaky_relu
  stage_wise "$split" --embedding cls+box --form published --layers 3 --activation relu
  stage_wise "$split" --embedding cls+box --form published --layers 3 --activation leaky_relu
  stage_wise "$split" --embedding cls+box --form rbf --box-loss projection --coordinates
done
table "Table 1b: the structure of T"
