"""Words that several stages share."""

from __future__ import annotations

AMP = ("auto", "off", "bf16", "fp16")
SEED_HELP = "Seed of every random choice."
SPLIT_HELP = "Category set whose masks may be used: the seen categories."
ALLOW_MASK_WEIGHTS_HELP = (
    "Train on a part of the categories although the detector came of --allow-mask-weights: its weights saw masks, so "
    "that AP on unseen categories means nothing."
)
DEVICE_HELP = "Device: auto, cpu, cuda or cuda:N."
TENSORBOARD_HELP = (
    "Also write losses, learning rate and metrics for TensorBoard, into the run folder; needs the extra tensorboard."
)
WORKERS_HELP = "Processes that read images, one for each core at most."
AMP_HELP = "Mixed precision; auto takes bf16 where the CPU or GPU supports it."
MODEL_DETECTOR_HELP = (
    "Run folder of the model's detector, or its class FILE.py:Name; by default as recorded by fit-transfer."
)
