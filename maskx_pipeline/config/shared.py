"""Words that several stages share."""

from __future__ import annotations

AMP = ("auto", "off", "bf16", "fp16")
SEED_HELP = "Seed of every random choice."
SPLIT_HELP = "Category set whose masks may be used: the seen categories."
DEVICE_HELP = "Device: auto, cpu, cuda or cuda:N."
WORKERS_HELP = "Processes that read images."
AMP_HELP = "Mixed precision; auto takes bf16 where the CPU or GPU supports it."
