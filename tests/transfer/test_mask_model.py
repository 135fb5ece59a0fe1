"""The mask model: only the label asked for is computed, and what each predictor depends on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel, build_mask_model

EMBEDDINGS = [("none", "conditioned"), ("cls+box", "published"), ("cls", "conditioned")]


def _model(embedding: str, form: str, *, num_classes: int = 6, trained: bool = True) -> MaskModel:
    torch.manual_seed(0)
    config = TransferConfig(embedding=embedding, form=form, head_width=8, head_depth=2)
    model = build_mask_model(config, class_weights=_class_weights(num_classes), in_channels=5)
    if trained:  # away from the small or zero start, where categories do not differ yet
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _class_weights(num_classes: int = 6, dim: int = 5) -> ClassWeights:
    generator = torch.Generator().manual_seed(1)
    return ClassWeights(
        w_cls=torch.randn(num_classes, dim, generator=generator),
        b_cls=torch.zeros(num_classes),
        w_box=torch.randn(num_classes, 4 * dim, generator=generator),
        b_box=torch.zeros(num_classes, 4),
    )


class _LargestTensor(TorchDispatchMode):
    """Remembers the number of values of the largest tensor that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.values = max([self.values, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))])
        return out


@pytest.mark.parametrize(("embedding", "form"), EMBEDDINGS[1:])
def test_masks_equal_those_cut_from_the_masks_of_all_categories(embedding: str, form: str) -> None:
    """Gathering the kernel of each label gives what computing K masks and keeping one would give."""
    model = _model(embedding, form)
    roi_features, labels = torch.randn(9, 5, 4, 4), torch.randint(1, 7, (9,))
    every = F.conv2d(model.head(roi_features), model.mask_weights()[:, :, None, None])
    assert every.shape == (9, 6, 8, 8)
    assert torch.allclose(model(roi_features, labels), every[torch.arange(9), labels - 1], atol=1e-5)


@pytest.mark.parametrize(("embedding", "form"), EMBEDDINGS)
def test_no_tensor_of_a_training_step_grows_with_the_number_of_categories(embedding: str, form: str) -> None:
    """With 3,000 categories no operation of forward or backward returns a larger tensor than with 30."""
    largest = []
    for num_classes in (30, 3000):
        model = _model(embedding, form, num_classes=num_classes)
        roi_features, labels = torch.randn(4, 5, 4, 4), torch.tensor([1, 30, 7, 7])
        with _LargestTensor() as recorder:
            mask_loss(model(roi_features, labels), torch.ones(4, 8, 8)).backward()
        largest.append(recorder.values)
    assert largest[0] == largest[1] > 0


@pytest.mark.parametrize(("embedding", "form"), EMBEDDINGS)
def test_a_batch_of_one_equals_a_batch_of_two(embedding: str, form: str) -> None:
    """A RoI's mask does not depend on the RoIs beside it."""
    model = _model(embedding, form)
    roi_features, labels = torch.randn(2, 5, 4, 4), torch.tensor([2, 5])
    together = model(roi_features, labels)
    for number in range(2):
        alone = model(roi_features[number : number + 1], labels[number : number + 1])
        assert torch.allclose(alone[0], together[number], atol=1e-5)


@pytest.mark.parametrize(("embedding", "form"), EMBEDDINGS)
def test_no_roi_gives_no_mask(embedding: str, form: str) -> None:
    """An image without detections passes through, and its loss is 0 with a gradient."""
    model = _model(embedding, form)
    logits = model(torch.zeros(0, 5, 4, 4, dtype=torch.float16), torch.zeros(0, dtype=torch.int64))
    assert logits.shape == (0, 8, 8)
    mask_loss(logits, torch.zeros(0, 8, 8)).backward()


def test_the_class_agnostic_model_does_not_depend_on_the_label() -> None:
    """Other labels leave its logits bit-identical, and nothing of it has a size K."""
    model = _model("none", "conditioned")
    roi_features = torch.randn(3, 5, 4, 4)
    first = model(roi_features, torch.tensor([1, 2, 3]))
    assert torch.equal(first, model(roi_features, torch.tensor([6, 6, 1])))
    assert model.mask_weights().shape == (1, 8)
    assert "predictor.class_embeddings" not in model.state_dict()


def test_the_class_agnostic_predictor_starts_as_the_authors() -> None:
    """Its kernel starts as N(0, .001), and unlike the transferred one it has a bias, 0."""
    config = TransferConfig(embedding="none")
    model = build_mask_model(config, class_weights=_class_weights(), in_channels=4)
    assert model.mask_weights().std().item() == pytest.approx(0.001, rel=0.2)
    assert model.state_dict()["predictor.conv.bias"].tolist() == [0.0]


def test_the_conditioned_form_starts_without_class_dependence() -> None:
    """Its masks of any two labels start exactly equal: T starts at zero, added to shared weights."""
    model = _model("cls", "conditioned", trained=False)
    roi_features = torch.randn(2, 5, 4, 4)
    assert torch.equal(model(roi_features, torch.tensor([1, 2])), model(roi_features, torch.tensor([6, 3])))
    assert model.mask_weights().any()


def test_the_published_form_reads_the_raw_embedding() -> None:
    """T gets cls+box unchanged, and has two layers."""
    model, weights = _model("cls+box", "published"), _class_weights()
    assert torch.equal(
        model.state_dict()["predictor.class_embeddings"], torch.cat([weights.w_cls, weights.w_box], dim=1)
    )
    assert {name for name in model.state_dict() if "transfer" in name} == {
        f"predictor.transfer.layers.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_one_seed_starts_the_head_alike_for_every_predictor() -> None:
    """Baseline and transfer differ in the predictor alone, so that they can be compared."""
    heads = [_model(embedding, form, trained=False).head.state_dict() for embedding, form in EMBEDDINGS]
    for head in heads[1:]:
        assert all(torch.equal(value, heads[0][name]) for name, value in head.items())


def test_float16_features_are_taken_as_they_lie_in_the_cache() -> None:
    """Features of the cache give the same logits as the same numbers in float32."""
    model = _model("cls", "conditioned")
    roi_features, labels = torch.randn(2, 5, 4, 4).half(), torch.tensor([1, 2])
    assert torch.equal(model(roi_features, labels), model(roi_features.float(), labels))


def test_the_class_embeddings_are_not_trained() -> None:
    """T and the head are trained; what T reads stays (stop-gradient on w_det, section 3.2)."""
    assert "predictor.class_embeddings" not in dict(_model("cls", "published").named_parameters())
