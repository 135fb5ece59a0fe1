"""SAM and SAM 2 with a few random weights, saved to a folder as a user's weights would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

SIDE = 64
"""Of the image that the models see, in pixels; the real ones see 1024."""

_DECODER = {
    "hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
    "iou_head_depth": 2,
}  # fmt: skip


def save_sam(folder: Path, *, seed: int = 0) -> Path:
    """SAM: an image is fitted into the square, and padded."""
    hf = pytest.importorskip("transformers", reason="the extra sam is not installed")
    torch.manual_seed(seed)
    config = hf.SamConfig(
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8,
            "output_channels": 16, "mlp_dim": 16, "global_attn_indexes": [0], "window_size": 4, "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config=_DECODER,
    )  # fmt: skip
    images = hf.SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": SIDE // 2},
        mask_pad_size={"height": SIDE // 2, "width": SIDE // 2},
    )
    return _save(folder, hf.SamModel(config), hf.SamProcessor(images))


def save_sam2(folder: Path, *, seed: int = 0) -> Path:
    """SAM 2: an image is stretched to the square."""
    hf = pytest.importorskip("transformers", reason="the extra sam is not installed")
    torch.manual_seed(seed)
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 1, 2], "embed_dim_per_stage": [8, 16, 32, 64], "query_stride": [2, 2],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 8, 8, 8],
        "window_positional_embedding_background_size": [4, 4], "global_attention_blocks": [4],
    }  # fmt: skip
    config = hf.Sam2Config(
        vision_config={
            "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "num_feature_levels": 3,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config=_DECODER,
    )  # fmt: skip
    images = hf.Sam2ImageProcessor(
        size={"height": SIDE, "width": SIDE}, mask_size={"height": SIDE // 4, "width": SIDE // 4}
    )
    return _save(folder, hf.Sam2Model(config), hf.Sam2Processor(images))


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
