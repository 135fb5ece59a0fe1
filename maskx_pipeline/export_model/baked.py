"""The mask head with baked weights: w_seg = T(w_det) for every category, and no T any more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, ClassSpecificPredictor


@torch.no_grad()
def bake(mask_model: MaskModel, num_classes: int) -> tuple[Tensor, Tensor]:
    """The 1x1 kernel and bias of every label, the background first.

    Args:
        num_classes: K.

    Returns:
        FloatTensor[K + 1, C] and FloatTensor[K + 1], copies on the CPU. Those of the background are zero, as nothing is
        trained for it; T gives no bias; the class-agnostic baseline has the same for every label.
    """
    kernels = mask_model.mask_weights().detach().float().cpu()
    biases = kernels.new_zeros(num_classes)
    predictor = mask_model.predictor
    if isinstance(predictor, AgnosticPredictor):
        kernels = kernels.expand(num_classes, -1)
        if predictor.conv.bias is not None:
            biases = predictor.conv.bias.detach().float().cpu().expand(num_classes)
    elif isinstance(predictor, ClassSpecificPredictor):
        biases = predictor.bias.detach().float().cpu()
    background = kernels.new_zeros(1, kernels.shape[1])
    return torch.cat([background, kernels]), torch.cat([background[0, :1], biases])


class BakedMaskHead(nn.Module):
    """The whole mask head for inference: RoI features and labels to mask probabilities.

    Args:
        mask_model: With T, class-agnostic or class-specific, and with or without the MLP branch.
        num_classes: K.
    """

    kernels: Tensor
    biases: Tensor

    def __init__(self, mask_model: MaskModel, num_classes: int) -> None:
        super().__init__()
        self.head = mask_model.head
        self.mlp = mask_model.mlp
        if mask_model.predictor is None:
            kernels, biases = torch.zeros(num_classes + 1, self.head.out_channels), torch.zeros(num_classes + 1)
        else:
            kernels, biases = bake(mask_model, num_classes)
        self.register_buffer("kernels", kernels)
        self.register_buffer("biases", biases)

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """Predict the mask of each RoI for its label.

        Args:
            roi_features (FloatTensor[N, C, S, S]): Pooled features of the detector.
            labels (int64[N]): 1..K.

        Returns:
            FloatTensor[N, M, M]: Probabilities 0..1.
        """
        mask_features: Tensor = self.head(roi_features)
        logits = (self.kernels[labels][:, :, None, None] * mask_features).sum(dim=1) + self.biases[labels][
            :, None, None
        ]
        if self.mlp is not None:
            logits = logits + self.mlp(mask_features)
        return logits.sigmoid()
