"""The mask model: only the label asked for is computed, and what each predictor depends on."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from maskx_pipeline.config import FORMS, TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.heads.mlp import MLPMaskBranch
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import ClassSpecificPredictor, TransferPredictor

EMBEDDINGS = [("none", "linear"), ("cls+box", "published"), ("cls", "linear")]
EVERY_KIND: list[dict[str, Any]] = [
    {"embedding": "none"},
    {"embedding": "none", "mask_branch": "mlp", "mlp_layers": 2},
    {"embedding": "none", "mask_branch": "fcn+mlp"},
    {"embedding": "none", "class_specific": True},
    {"embedding": "cls+box", "form": "published"},
    {"embedding": "cls", "form": "linear"},
    {"embedding": "cls", "form": "linear", "mask_branch": "fcn+mlp", "mlp_layers": 3},
    {"embedding": "randn", "form": "published", "embedding_dim": 7, "condition": "centred"},
]


def _model(
    embedding: str, form: str = "linear", *, num_classes: int = 6, trained: bool = True, **settings: Any
) -> MaskModel:
    torch.manual_seed(0)
    config = TransferConfig(embedding=embedding, form=form, head_width=8, head_depth=2, **settings)
    model = _build(config, num_classes)
    if trained:  # away from the small or zero start, where categories do not differ yet
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _build(config: TransferConfig, num_classes: int = 6, seen: set[int] | None = None) -> MaskModel:
    return new_mask_model(
        config,
        class_weights=_class_weights(num_classes),
        category_names=[f"kind {number}" for number in range(num_classes)],
        in_channels=5,
        roi_size=4,
        seen=seen,
    )


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


@pytest.mark.parametrize("settings", [kind for kind in EVERY_KIND if "class_specific" not in kind])
def test_no_tensor_of_a_training_step_grows_with_the_number_of_categories(settings: dict[str, Any]) -> None:
    """With 3,000 categories no operation of forward or backward returns a larger tensor than with 30."""
    largest = []
    for num_classes in (30, 3000):
        model = _model(**settings, num_classes=num_classes)
        roi_features, labels = torch.randn(4, 5, 4, 4), torch.tensor([1, 30, 7, 7])
        with _LargestTensor() as recorder:
            mask_loss(model(roi_features, labels), torch.ones(4, 8, 8)).backward()
        largest.append(recorder.values)
    assert largest[0] == largest[1] > 0


def test_the_masks_of_the_oracle_do_not_grow_with_the_number_of_categories() -> None:
    """Its kernels do, and so does their gradient; the forward pass reads only the rows of the labels."""
    largest = []
    for num_classes in (30, 3000):
        model = _model("none", class_specific=True, num_classes=num_classes)
        with torch.no_grad(), _LargestTensor() as recorder:
            model(torch.randn(4, 5, 4, 4), torch.tensor([1, 30, 7, 7]))
        largest.append(recorder.values)
    assert largest[0] == largest[1] > 0


@pytest.mark.parametrize("settings", EVERY_KIND)
def test_a_batch_of_one_equals_a_batch_of_two(settings: dict[str, Any]) -> None:
    """A RoI's mask does not depend on the RoIs beside it."""
    model = _model(**settings)
    roi_features, labels = torch.randn(2, 5, 4, 4), torch.tensor([2, 5])
    together = model(roi_features, labels)
    for number in range(2):
        alone = model(roi_features[number : number + 1], labels[number : number + 1])
        assert torch.allclose(alone[0], together[number], atol=1e-5 * max(1.0, together.abs().max().item()))


@pytest.mark.parametrize("settings", EVERY_KIND)
def test_no_roi_gives_no_mask(settings: dict[str, Any]) -> None:
    """An image without detections passes through, and its loss is 0 with a gradient."""
    model = _model(**settings)
    logits = model(torch.zeros(0, 5, 4, 4, dtype=torch.float16), torch.zeros(0, dtype=torch.int64))
    assert logits.shape == (0, 8, 8)
    mask_loss(logits, torch.zeros(0, 8, 8)).backward()


def test_the_class_agnostic_model_does_not_depend_on_the_label() -> None:
    """Other labels leave its logits bit-identical, and nothing of it has a size K."""
    model = _model("none", "linear")
    roi_features = torch.randn(3, 5, 4, 4)
    first = model(roi_features, torch.tensor([1, 2, 3]))
    assert torch.equal(first, model(roi_features, torch.tensor([6, 6, 1])))
    assert model.mask_weights().shape == (1, 8)
    assert "predictor.embedding.rows" not in model.state_dict()


def test_the_class_agnostic_predictor_starts_as_the_authors() -> None:
    """Its kernel starts as N(0, .001), and unlike the transferred one it has a bias, 0."""
    config = TransferConfig(embedding="none")
    model = _build(config)
    assert model.mask_weights().std().item() == pytest.approx(0.001, rel=0.2)
    assert model.state_dict()["predictor.conv.bias"].tolist() == [0.0]


def test_the_linear_form_starts_without_class_dependence() -> None:
    """Its masks of any two labels start exactly equal: T starts at zero, added to shared weights."""
    model = _model("cls", "linear", trained=False)
    roi_features = torch.randn(2, 5, 4, 4)
    assert torch.equal(model(roi_features, torch.tensor([1, 2])), model(roi_features, torch.tensor([6, 3])))
    assert model.mask_weights().any()


def test_the_published_form_reads_the_raw_embedding() -> None:
    """T gets cls+box unchanged, and has two layers."""
    model, weights = _model("cls+box", "published"), _class_weights()
    assert torch.equal(model.state_dict()["predictor.embedding.rows"], torch.cat([weights.w_cls, weights.w_box], dim=1))
    assert {name for name in model.state_dict() if "transfer" in name} == {
        f"predictor.transfer.layers.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_one_seed_starts_the_head_alike_for_every_predictor() -> None:
    """Baseline and transfer differ in the predictor alone, so that they can be compared."""
    heads = [_model(**settings, trained=False).head.state_dict() for settings in EVERY_KIND]
    for head in heads[1:]:
        assert all(torch.equal(value, heads[0][name]) for name, value in head.items())


def test_float16_features_are_taken_as_they_lie_in_the_cache() -> None:
    """Features of the cache give the same logits as the same numbers in float32."""
    model = _model("cls", "linear")
    roi_features, labels = torch.randn(2, 5, 4, 4).half(), torch.tensor([1, 2])
    assert torch.equal(model(roi_features, labels), model(roi_features.float(), labels))


def test_the_class_embeddings_are_not_trained() -> None:
    """T and the head are trained; what T reads stays (stop-gradient on w_det, section 3.2)."""
    assert "predictor.embedding.rows" not in dict(_model("cls", "published").named_parameters())


def test_the_logits_of_both_branches_are_added() -> None:
    """fcn+mlp is the sum of what each branch alone says, before the sigmoid, whatever the label for the MLP."""
    model = _model("cls", mask_branch="fcn+mlp", mlp_layers=2)
    roi_features, labels = torch.randn(3, 5, 4, 4), torch.tensor([1, 4, 6])
    assert model.mlp is not None
    assert model.predictor is not None
    head_out = model.head(roi_features)
    expected = model.predictor(head_out, labels) + model.mlp(head_out)
    assert torch.equal(model(roi_features, labels), expected)
    assert not torch.allclose(expected, model.predictor(head_out, labels))


def test_the_mlp_branch_alone_has_no_kernels() -> None:
    """Only its logits count, for every label the same."""
    model = _model("none", mask_branch="mlp")
    roi_features = torch.randn(2, 5, 4, 4)
    assert model.predictor is None
    assert model.mask_weights().shape == (0, 8)
    assert torch.equal(model(roi_features, torch.tensor([1, 2])), model(roi_features, torch.tensor([6, 3])))


def test_the_mlp_branch_has_the_authors_size_and_start() -> None:
    """One layer from 256 x 28 x 28 to 784 is 157.35 M weights (built without memory); it starts as N(0, .001)."""
    with torch.device("meta"):
        released = MLPMaskBranch(in_channels=256, mask_size=28, layers=1)
    assert sum(parameter.numel() for parameter in released.parameters()) == 157_352_720
    for layer in MLPMaskBranch(in_channels=4, mask_size=8, layers=2).layers:
        assert isinstance(layer, torch.nn.Linear)
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.03)
        assert not layer.bias.any()


@pytest.mark.parametrize(("layers", "widths"), [(1, [256, 64]), (2, [256, 1024, 64]), (3, [256, 1024, 1024, 64])])
def test_hidden_layers_of_the_mlp_branch_are_1024_wide(layers: int, widths: list[int]) -> None:
    """From C x M x M to M x M, with ReLU between layers only."""
    branch = MLPMaskBranch(in_channels=4, mask_size=8, layers=layers)
    shapes = [tuple(layer.weight.shape) for layer in branch.layers if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(after, before) for before, after in itertools.pairwise(widths)]
    features = torch.randn(2, 4, 8, 8)
    assert branch(features).min() < 0
    assert torch.allclose(branch(2 * features), 2 * branch(features), atol=1e-6)
    assert torch.allclose(branch(-features), -branch(features), atol=1e-9) == (layers == 1)


def test_the_oracle_reads_the_row_of_its_label() -> None:
    """Each RoI gets kernel and bias of its own category, as Mask R-CNN's K masks of which one is kept."""
    model = _model("none", class_specific=True)
    assert isinstance(model.predictor, ClassSpecificPredictor)
    roi_features, labels = torch.randn(9, 5, 4, 4), torch.randint(1, 7, (9,))
    every = F.conv2d(model.head(roi_features), model.mask_weights()[:, :, None, None], model.predictor.bias)
    assert torch.allclose(model(roi_features, labels), every[torch.arange(9), labels - 1], atol=1e-5)


def test_the_oracle_starts_as_the_authors() -> None:
    """MSRAFill of fan_out: std sqrt(2 / K), biases 0."""
    predictor = ClassSpecificPredictor(in_channels=256, num_classes=80)
    assert predictor.weight.std().item() == pytest.approx((2 / 80) ** 0.5, rel=0.02)
    assert predictor.bias.tolist() == [0.0] * 80


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("published", {"layers": 3, "activation": "relu", "shared": True}),
        ("published", {"layers": 1, "zero_start": True, "condition": "centred"}),
        ("linear", {"layers": 2, "activation": "leaky_relu", "shared": False, "zero_start": False}),
        ("linear", {"condition": "raw"}),
        ("linear", {"kernel": "rbf"}),
    ],
)
def test_a_given_option_overrides_the_form(form: str, changes: dict[str, Any]) -> None:
    """And only that option; the model is built as it says."""
    config = TransferConfig(embedding="cls", form=form, head_width=8, head_depth=0, **changes)
    expected = {**dataclasses.asdict(FORMS[form]), **changes}
    assert dataclasses.asdict(config.structure()) == expected
    predictor = _build(config).predictor
    assert isinstance(predictor, TransferPredictor)
    linears = [layer for layer in predictor.transfer.layers if isinstance(layer, torch.nn.Linear)]
    assert len(linears) == expected["layers"]
    assert any(isinstance(layer, torch.nn.ReLU) for layer in predictor.transfer.layers) == (
        expected["activation"] == "relu"
    )
    assert (predictor.transfer.shared_weights is not None) == expected["shared"]
    assert (predictor.transfer.similarities is not None) == (expected["kernel"] == "rbf")
    assert (not linears[-1].weight.any()) == expected["zero_start"]
    raw = _class_weights().w_cls
    read = {"raw": raw, "centred": raw - raw.mean(dim=0)}.get(expected["condition"])
    if read is not None:
        assert torch.allclose(predictor.embedding.rows, read, atol=1e-6)
    else:
        assert predictor.embedding.rows.std(correction=0).item() == pytest.approx(0.3, rel=1e-5)


def test_similarities_are_those_to_the_seen_categories() -> None:
    """Whatever their order; without the seen ones being named, to all."""
    config = TransferConfig(embedding="cls", kernel="rbf", condition="raw", head_width=8, head_depth=0)
    for seen, rows in (({5, 2}, [1, 4]), (None, [0, 1, 2, 3, 4, 5])):
        predictor = _build(config, seen=seen).predictor
        assert isinstance(predictor, TransferPredictor)
        assert predictor.transfer.similarities is not None
        assert torch.equal(predictor.transfer.similarities.centres, _class_weights().w_cls[rows])
        assert predictor.mask_weights().shape == (6, 8)


def test_saying_what_the_form_says_changes_nothing() -> None:
    """The identity of a run is that of the structure, however it was asked for."""
    plain = TransferConfig(form="published")
    spelt = plain.replace(
        layers=2, activation="leaky_relu", condition="raw", kernel="linear", shared=False, zero_start=False
    )
    assert spelt.identity() == plain.identity() != plain.replace(layers=3).identity()


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"embedding": "cls", "class_specific": True}, "--embedding none"),
        ({"embedding": "cls", "mask_branch": "mlp"}, "fcn[+]mlp"),
        ({"embedding": "none", "mask_branch": "mlp", "class_specific": True}, "leave out --class-specific"),
        ({"embedding": "glove"}, "--embedding-file"),
    ],
)
def test_settings_that_contradict_each_other_are_an_error(settings: dict[str, Any], hint: str) -> None:
    """Nothing that was asked for is silently left out."""
    with pytest.raises(ConfigError, match=hint):
        _build(TransferConfig(**settings))
