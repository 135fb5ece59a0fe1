"""Stage 2: the weight transfer function T and the mask head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config.shared import (
    ALLOW_MASK_WEIGHTS_HELP,
    AMP,
    AMP_HELP,
    DEVICE_HELP,
    SEED_HELP,
    SPLIT_HELP,
    TENSORBOARD_HELP,
)
from maskx_pipeline.settings import StageConfig, option, settings


@dataclass(frozen=True, slots=True)
class TransferForm:
    """The structure of T (Table 1b) and of what it reads; the options of :class:`TransferConfig` of the same names."""

    layers: int
    activation: str
    condition: str
    kernel: str
    shared: bool
    zero_start: bool


FORMS = {
    "published": TransferForm(
        layers=2, activation="leaky_relu", condition="raw", kernel="linear", shared=False, zero_start=False
    ),
    "conditioned": TransferForm(
        layers=1, activation="none", condition="pca", kernel="linear", shared=True, zero_start=True
    ),
}

# Each choice, and the class that it stands for. A new one is its own file and a line here.
_ROOM = "maskx_pipeline.transfer"
EMBEDDINGS = {
    "cls": f"{_ROOM}.embedding.class_weights:ClassWeightVectors",
    "box": f"{_ROOM}.embedding.class_weights:ClassWeightVectors",
    "cls+box": f"{_ROOM}.embedding.class_weights:ClassWeightVectors",
    "glove": f"{_ROOM}.embedding.file:FileVectors",
    "randn": f"{_ROOM}.embedding.randn:RandomVectors",
}
MASK_HEADS = {"fcn": f"{_ROOM}.heads.fcn:FCNMaskHead"}


@settings
class TransferConfig(StageConfig):
    """Stage 2: the weight transfer function T and the mask head, from the RoI cache."""

    table = "fit-transfer"
    cache: Path = option(Path("runs/cache.h5"), "RoI cache to read.")
    detector: Path = option(
        Path("runs/detector"),
        "Run folder of the cached detector, or its class FILE.py:Name, for predicting on images later.",
        may_name_class=True,
    )
    out: Path = option(Path("runs/transfer"), "Folder that holds the runs of this stage.")
    name: str = option("", "Folder of the run, OUT/NAME; made from the settings of the model if empty.", identity=False)
    split: str = option("masked", SPLIT_HELP, identity=False, may_name_file=True)  # known by what it resolves to
    allow_mask_weights: bool = option(False, ALLOW_MASK_WEIGHTS_HELP, identity=False)
    embedding: str = option(
        "cls+box",
        "Class embedding that T reads: the detector's weights, word vectors (glove), random vectors (randn); "
        "none trains the class-agnostic baseline.",
        choices=(*EMBEDDINGS, "none"),
    )
    embedding_file: Path | None = option(
        None, "For glove: text file with lines `word v1 ... vD`, or a [K, D] matrix as .npy."
    )
    embedding_names: Path | None = option(
        None, "For glove from .npy: text file, a category name per row; without it, rows are in the data set's order."
    )
    embedding_dim: int = option(300, "Length of the vectors of randn.", minimum=1)
    randn_per: str = option(
        "category",
        "For randn, a vector per category as in the paper, or one per word averaged over the words of a name as in the "
        "authors' matrix, where names that share a word are alike.",
        choices=("category", "word"),
    )
    class_specific: bool = option(
        False, "With --embedding none: learn mask weights per category, the fully supervised oracle; use --split all."
    )
    form: str = option(
        "conditioned",
        "Preset of the six options after it. published: layers 2, activation leaky_relu, condition raw, kernel linear, "
        "no-shared, no-zero-start. conditioned: layers 1, activation none, condition pca, kernel linear, shared, "
        "zero-start.",
        choices=("published", "conditioned"),
    )
    layers: int | None = option(
        None, "Linear layers of T, in the paper 1, 2 or 3; by default as the form says.", minimum=1
    )
    activation: str | None = option(
        None, "Between the layers of T; by default as the form says.", choices=("none", "relu", "leaky_relu")
    )
    condition: str | None = option(
        None,
        "The embedding raw, centred over all categories, or reduced to its principal components; by default as the "
        "form says.",
        choices=("raw", "centred", "pca"),
    )
    kernel: str | None = option(
        None,
        "What the first layer of T reads. linear: the embedding itself; rbf: its similarity to that of each seen "
        "category, so that T adds nothing for a category that is like none of them; by default as the form says.",
        choices=("linear", "rbf"),
    )
    shared: bool | None = option(
        None, "Add T's output to weights that all categories share; by default as the form says."
    )
    zero_start: bool | None = option(None, "Start the last layer of T at zero; by default as the form says.")
    components: int = option(16, "Principal components of the embedding under condition pca.", minimum=1)
    component_std: float = option(
        0.3, "Overall std to which these components, and the similarities of kernel rbf, are scaled.", minimum=0
    )
    leaky_slope: float = option(0.1, "Negative slope of leaky_relu.", minimum=0)
    mask_head: str = option(
        "fcn",
        "From RoI features to mask features. fcn: Mask R-CNN's layers.",
        choices=(*MASK_HEADS,),
    )
    mask_branch: str = option(
        "fcn",
        "fcn: T's or the baseline's 1x1 kernel on the mask features; mlp: class-agnostic fully connected layers on "
        "them; fcn+mlp: the sum of both logits.",
        choices=("fcn", "mlp", "fcn+mlp"),
    )
    mlp_layers: int = option(1, "Layers of the MLP branch, hidden ones 1024 wide; the authors' code has 1.", minimum=1)
    head_width: int = option(256, "Channels of the mask head.", minimum=1)
    head_depth: int = option(4, "Convolutions before the deconvolution.", minimum=0)
    epochs: float = option(12.0, "Passes over the RoIs of the seen categories.", minimum=0)
    rois_per_batch: int = option(128, "RoIs of a step.", minimum=1)
    lr: float = option(0.02, "Learning rate of SGD.", minimum=0)
    momentum: float = option(0.9, "Momentum of SGD.", minimum=0)
    weight_decay: float = option(1e-4, "Weight decay; biases have none.", minimum=0)
    bias_lr_factor: float = option(2.0, "Learning rate of biases, relative to lr.", minimum=0)
    warmup_iterations: int = option(500, "Steps of linear warm-up, at most a tenth of all.", minimum=0)
    warmup_factor: float = option(1 / 3, "Learning rate at the first step, relative to lr.", minimum=0)
    lr_drops: tuple[float, ...] = option((2 / 3, 8 / 9), "Fractions of the training at which the learning rate drops.")
    gamma: float = option(0.1, "Factor of each drop.", minimum=0)
    clip_grad_norm: float = option(10.0, "Largest norm of the gradient; 0 switches clipping off.", minimum=0)
    amp: str = option("auto", AMP_HELP, choices=AMP)
    eval_every: float = option(1.0, "Epochs between measurements on the cached val group; 0: at the end.", minimum=0)
    checkpoint_every: int = option(500, "Steps between resumable checkpoints.", identity=False, minimum=1)
    tensorboard: bool = option(False, TENSORBOARD_HELP, identity=False)
    device: str = option("auto", DEVICE_HELP, identity=False)
    cache_in: str = option(
        "auto",
        "Where the RoI features are read from at each step: disk; ram, read once into memory; gpu, read once into its "
        "memory; auto: gpu where they fit into half of what is free there, else disk.",
        choices=("auto", "disk", "ram", "gpu"),
        identity=False,
    )
    seed: int = option(0, SEED_HELP, minimum=0)

    def structure(self) -> TransferForm:
        """The structure of T: that of ``form``, but for the options that were given."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(TransferForm)}
        return dataclasses.replace(FORMS[self.form], **{name: v for name, v in given.items() if v is not None})

    def form_name(self) -> str:
        """The form, and in a word each how the structure of T differs from it: ``published-3layer-relu``."""
        form, structure = FORMS[self.form], self.structure()
        words = {
            "layers": f"{structure.layers}layer",
            "activation": {"none": "linear"}.get(structure.activation, structure.activation),
            "condition": structure.condition,
            "kernel": structure.kernel,
            "shared": "shared" if structure.shared else "unshared",
            "zero_start": "zero-start" if structure.zero_start else "random-start",
        }
        different = [word for name, word in words.items() if getattr(structure, name) != getattr(form, name)]
        return "-".join([self.form, *different])

    def identity(self) -> dict[str, Any]:
        """With the structure of T spelt out, so that giving what the form says anyway changes nothing."""
        structure = dict.fromkeys(("form", *dataclasses.asdict(self.structure())))
        if self.embedding != "none":  # without T it has no structure
            structure = {"form": self.form, **dataclasses.asdict(self.structure())}
        return {**super().identity(), **structure}
