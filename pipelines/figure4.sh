#!/usr/bin/env bash
# Figure 4, masks of the class-agnostic baseline above those of MaskX R-CNN (both of Table 2), a picture per direction.
#   [IMAGES="a.jpg b.jpg"] [INIT=backbone|RUN] ./pipelines/figure4.sh [PROJECT_FOLDER]        (see pipelines/README.md)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
joint_from
detector_and_val
for split in "${splits[@]}"; do
  joint "$split" --init "$INIT" --embedding none
  joint "$split" --init "$INIT" --embedding cls+box --form "$FORM" --mask-branch fcn+mlp
  name=${split##*/} name=${name#@}
  say "Figure 4: trained on the masks of ${name%.txt}"
  # IMAGES without quotes: it is a list of files
  maskx contact-sheet ${IMAGES:-} --model "${runs[-2]}" --model "${runs[-1]}" "${WEIGHTS[@]}" --out "figure4-${name%.txt}.png" --overwrite
done
table "The AP of these models"
