# Sourced by the recipes of the paper's tables and figures: where they run, the two category sets, stage 1, and what is
# done for each model. All stages return at once where they are finished, so a recipe that was interrupted continues.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${MASKX:-}" ]; then
  MASKX=maskx
  [ ! -x "$checkout/.venv/bin/maskx" ] || MASKX=$checkout/.venv/bin/maskx
fi
launch=() # what starts the processes that share a stage: LAUNCH, or torchrun for GPUS of this machine
if [ -n "${LAUNCH:-}" ]; then
  read -ra launch <<<"$LAUNCH"
elif [ "${GPUS:-1}" -gt 1 ]; then
  launch=("$(dirname "$(type -P "$MASKX")")/torchrun" --standalone --nproc-per-node "$GPUS")
fi
maskx() {
  case $1 in
    run | detect | export-embeddings | fit-transfer | tune | e2e | evaluate | predict | annotate)
      if [ ${#launch[@]} -gt 0 ]; then
        "${launch[@]}" -m maskx_pipeline "$@"
        return
      fi
      ;;
  esac
  command "$MASKX" "$@"
}
say() { printf '\n== %s\n' "$*" >&2; }

detector_table() { # detector_table IMAGES LR ITERATIONS STEPS: [detect], in place of what init made of the number of images
  sed -i '/^\[detect\]/,/^$/d' maskx.toml
  cat >>maskx.toml <<END
[detect]
backbone = "${BACKBONE:-resnet101}"
images-per-batch = $1
lr = $2
iterations = $3
steps = [$4]
END
}

cd "${1:-.}"
unset MASKX_PROJECT # the project is the folder, whatever the environment says
! declare -F to_coco_format >/dev/null || to_coco_format
[ -f maskx.toml ] || ! declare -F make_project >/dev/null || make_project
if [ ! -f maskx.toml ]; then
  echo "$PWD has no maskx.toml: give a project folder, made with \`maskx init\`." >&2
  exit 1
fi
on_shapes=no
[ ! -f data/shapes/train.json ] || on_shapes=yes
if [ "$on_shapes" = yes ]; then
  SPLIT_A=${SPLIT_A-@data/shapes/seen.txt} SPLIT_B=${SPLIT_B-@data/shapes/unseen.txt}
else
  SPLIT_A=${SPLIT_A-voc} SPLIT_B=${SPLIT_B-nonvoc}
fi
splits=("$SPLIT_A")
if [ -n "$SPLIT_B" ]; then splits+=("$SPLIT_B"); else say "SPLIT_B is empty: only the direction from $SPLIT_A"; fi
FORM=${FORM:-published}
# Stage 2 as the authors train it: 90,000 updates of about 1,024 RoIs whatever the split, and then the last weights.
# With QUICK=1, and on shapes, the passes and the batch of [fit-transfer], and the best weights.
QUICK=${QUICK-$([ "$on_shapes" = no ] || echo 1)}
if [ "$QUICK" = 1 ]; then
  FIT=() JOINT=() WEIGHTS=()
else
  FIT=(--iterations 90000 --rois-per-batch 1024 --lr 0.02 --eval-every 0)
  JOINT=(--eval-every 0) WEIGHTS=(--checkpoint last)
fi
PAPER=(--box-loss none --no-coordinates) # the paper learns from masks alone, and its mask head has no coordinates
runs=() # the models of the table, in its order

detector_and_val() { # for joint training, beside which only the detections in val are needed
  say "Stage 1: detector"
  maskx detect train >&2
  say "RoI cache, of val alone"
  maskx export-embeddings --only val >&2
}

detector_and_cache() { # one of each for all models: the boxes of all categories are used, and masks where they are
  say "Stage 1: detector"
  maskx detect train >&2
  say "RoI cache"
  maskx export-embeddings >&2
}

stage_wise() { # stage_wise SPLIT OPTION...: fit a mask model on the masks of SPLIT, evaluate it, note it for the table
  say "Stage-wise: $*"
  local folder
  folder=$(maskx fit-transfer --split "$1" "${PAPER[@]}" "${FIT[@]}" "${@:2}")
  maskx evaluate --model "$folder" --split all "${WEIGHTS[@]}" >&2
  runs+=("$folder")
}

default_design() { # default_design OPTION...: maskx's own design, on the masks of all categories that have any
  say "Default design: $*"
  local folder
  folder=$(maskx fit-transfer --split masked "$@")
  maskx evaluate --model "$folder" --split all >&2
  runs+=("$folder")
}

joint() { # joint SPLIT OPTION...: the same by joint training
  say "Joint: $*"
  local folder
  folder=$(maskx e2e --split "$1" "${PAPER[@]}" "${JOINT[@]}" "${@:2}")
  maskx evaluate --model "$folder" --split all "${WEIGHTS[@]}" >&2
  runs+=("$folder")
}

joint_from() { # set INIT: the paper starts joint training from ImageNet weights, which shapes has none of
  if [ "$on_shapes" = yes ]; then INIT=${INIT:-runs/detector}; else INIT=${INIT:-backbone}; fi
}

table() { # table TITLE [OPTION...]: print the models noted so far
  say "$1"
  maskx compare "${runs[@]}" "${@:2}"
}
