#!/usr/bin/env bash
# Table 1a, what T reads: random vectors, GloVe, class weights, box weights, both; the baseline and the oracle.
#   [GLOVE=FILE] ./pipelines/table1a.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
detector_and_cache
for split in "${splits[@]}"; do
  stage_wise "$split" --embedding randn --form "$FORM"
  if [ -z "${GLOVE:-}" ]; then
    say "Skipped: transfer w/ GloVe, because GLOVE is not set to a file of word vectors"
  elif [ -z "${GLOVE_NAMES:-}" ]; then
    stage_wise "$split" --embedding glove --embedding-file "$GLOVE" --form "$FORM"
  else
    stage_wise "$split" --embedding glove --embedding-file "$GLOVE" --embedding-names "$GLOVE_NAMES" --form "$FORM"
  fi
  stage_wise "$split" --embedding cls --form "$FORM"
  stage_wise "$split" --embedding box --form "$FORM"
  stage_wise "$split" --embedding cls+box --form "$FORM"
  stage_wise "$split" --embedding none
done
if [ -n "$SPLIT_B" ]; then
  stage_wise all --embedding none --class-specific
else
  say "Skipped: the fully supervised oracle, which needs the masks of all categories"
fi
table "Table 1a: the input to T"
