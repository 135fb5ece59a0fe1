"""Stage 2: the weight transfer function T and the mask head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config.shared import MaskTraining
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
    hide_own: float = 0.0


FORMS = {
    "published": TransferForm(
        layers=2, activation="leaky_relu", condition="raw", kernel="linear", shared=False, zero_start=False
    ),
    "linear": TransferForm(layers=1, activation="none", condition="pca", kernel="linear", shared=True, zero_start=True),
    "rbf": TransferForm(
        layers=1, activation="none", condition="pca", kernel="rbf", shared=True, zero_start=True, hide_own=0.25
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
_RESNETS = {4: (2, 0), 8: (4, 0), 12: (6, 0), 16: (8, 0), 20: (8, 2)}
_HOURGLASSES = {
    10: ((1, 1), (2, 2)), 20: ((1, 1, 2), (2, 2, 3)), 32: ((2,) * 4, (2, 2, 3, 3)),
    52: ((2, 2, 2, 2, 2, 4), (2, 2, 3, 3, 3, 4)), 100: ((4, 4, 4, 4, 4, 8), (2, 2, 3, 3, 3, 4)),
}  # fmt: skip
MASK_HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "fcn": (f"{_ROOM}.heads.fcn:FCNMaskHead", {}),
    **{
        f"resnet{size}": (f"{_ROOM}.heads.resnet:ResNetMaskHead", {"blocks": blocks, "wider": wider})
        for size, (blocks, wider) in _RESNETS.items()
    },
    **{
        f"hourglass{size}": (f"{_ROOM}.heads.hourglass:HourglassMaskHead", {"blocks": blocks, "widths": widths})
        for size, (blocks, widths) in _HOURGLASSES.items()
    },
}
_SUPERVISION = {"none": "", "projection": "+boxes", "projection+pairwise": "+boxes+pairwise"}
BOX_LOSSES = (*_SUPERVISION,)


@settings
class TransferConfig(MaskTraining, StageConfig):
    """Stage 2: the weight transfer function T and the mask head, from the RoI cache."""

    table = "fit-transfer"
    cache: Path = option(Path("runs/cache.h5"), "RoI cache to read.")
    detector: Path = option(
        Path("runs/detector"),
        "Run folder of the cached detector, or its class FILE.py:Name, for predicting on images later.",
        may_name_class=True,
    )
    out: Path = option(Path("runs/transfer"), "Folder that holds the runs of this stage.")
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
        "rbf",
        "Preset of the seven options after it. published, the paper's: layers 2, activation leaky_relu, condition raw, "
        "kernel linear, no-shared, no-zero-start. linear: layers 1, activation none, condition pca, kernel linear, "
        "shared, zero-start. rbf: as linear, with kernel rbf and hide-own 0.25.",
        choices=(*FORMS,),
    )
    layers: int | None = option(
        None, "Linear layers of T, in the paper 1, 2 or 3; by default as the form says.", minimum=1, maximum=1000
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
    hide_own: float | None = option(
        None,
        "For kernel rbf: the share of RoIs, 0 to 1, for which T reads zero in training in place of the category's "
        "similarity to itself; by default as the form says.",
        minimum=0,
        maximum=1,
    )
    components: int = option(16, "Principal components of the embedding under condition pca.", minimum=1)
    component_std: float = option(
        0.3, "Overall std to which these components, and the similarities of kernel rbf, are scaled.", minimum=0
    )
    leaky_slope: float = option(0.1, "Negative slope of leaky_relu.", minimum=0)
    mask_head: str = option(
        "fcn",
        "From RoI features to mask features. fcn: Mask R-CNN's layers; resnet and hourglass: Deep-MARC's, of "
        "residual blocks, whose names count the layers.",
        choices=(*MASK_HEADS,),
    )
    mask_branch: str = option(
        "fcn",
        "fcn: T's or the baseline's 1x1 kernel on the mask features; mlp: class-agnostic fully connected layers on "
        "them; fcn+mlp: the sum of both logits.",
        choices=("fcn", "mlp", "fcn+mlp"),
    )
    mlp_layers: int = option(
        1, "Layers of the MLP branch, hidden ones 1024 wide; the authors' code has 1.", minimum=1, maximum=1000
    )
    head_width: int = option(256, "Channels of the mask head.", minimum=1)
    head_depth: int = option(4, "Convolutions of fcn before the deconvolution.", minimum=0, maximum=1000)
    head_norm: str = option(
        "group", "Normalisation in the mask heads resnet and hourglass; fcn has none.", choices=("group", "batch")
    )
    coordinates: bool = option(
        True, "Give the mask head the place of each cell in the RoI, as four more channels of its input."
    )
    box_loss: str = option(
        "projection",
        "What supervises the RoIs without a usable mask: projection, that the mask touches all four sides of its box; "
        "pairwise, that neighbours of like colour have like labels, from a cache with colours; or none.",
        choices=BOX_LOSSES,
    )
    box_loss_weight: float = option(
        1.0, "Weight of the box loss, reached over a sixth of the training after the warm-up.", minimum=0
    )
    box_rois_per_batch: int = option(
        0, "RoIs without a usable mask in a step; 0: as many as with one, --rois-per-batch.", minimum=0
    )
    rois: str = option(
        "both",
        "RoIs of the cache to learn from: the objects' own boxes (ground-truth), the proposals, or both.",
        choices=("both", "ground-truth", "proposals"),
    )
    epochs: float = option(12.0, "Passes over the RoIs of the seen categories.", minimum=0)
    iterations: int | None = option(
        None,
        "Steps, in place of epochs: the same number whatever the categories, as the paper's models have (90000).",
        minimum=1,
        instead_of="epochs",
    )
    rois_per_batch: int = option(128, "RoIs of a step.", minimum=1)
    lr_drops: tuple[float, ...] = option((2 / 3, 8 / 9), "Fractions of the training at which the learning rate drops.")
    eval_every: float = option(1.0, "Epochs between measurements on the cached val group; 0: at the end.", minimum=0)
    cache_in: str = option(
        "auto",
        "Where the RoI features are read from at each step: disk; ram, read once into memory; gpu, read once into its "
        "memory; auto: gpu where they fit into half of what is free there, else disk.",
        choices=("auto", "disk", "ram", "gpu"),
        identity=False,
    )

    def structure(self) -> TransferForm:
        """The structure of T: that of ``form``, but for the options that were given.

        Without similarities to read there is none to hide, whatever the form says.
        """
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(TransferForm)}
        given = {name: value for name, value in given.items() if value is not None}
        structure = dataclasses.replace(FORMS[self.form], **given)
        if structure.kernel != "rbf" and "hide_own" not in given:
            structure = dataclasses.replace(structure, hide_own=0.0)
        return structure

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
            "hide_own": f"hidden{structure.hide_own:g}",
        }
        if structure.kernel != "rbf":
            del words["hide_own"]
        different = [word for name, word in words.items() if getattr(structure, name) != getattr(form, name)]
        return "-".join([self.form, *different])

    def additions(self) -> str:
        """What the mask head and its supervision have beside the paper's, for names: ``+xy+boxes+pairwise``."""
        return ("+xy" if self.coordinates else "") + _SUPERVISION[self.box_loss]

    def identity(self) -> dict[str, Any]:
        """With the structure of T spelt out, so that giving what the form says anyway changes nothing."""
        structure = dict.fromkeys(("form", *dataclasses.asdict(self.structure())))
        if self.embedding != "none":  # without T it has no structure
            structure = {"form": self.form, **dataclasses.asdict(self.structure())}
        length = {} if self.iterations is None else {"epochs": None}  # epochs then say nothing
        return {**super().identity(), **length, **structure}

    def passes(self, rois: int) -> float:
        """How often the RoIs of the seen categories are gone through, of which there are ``rois``."""
        return self.epochs if self.iterations is None else self.iterations * self.rois_per_batch / rois

    def steps(self, rois: int) -> int:
        """Steps of the whole training on so many RoIs of the seen categories."""
        return round(self.passes(rois) * rois / self.rois_per_batch)
