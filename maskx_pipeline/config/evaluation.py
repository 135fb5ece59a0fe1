"""What is measured, and what is predicted."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.shared import DEVICE_HELP
from maskx_pipeline.config.teachers import TEACHER_HELP
from maskx_pipeline.settings import StageConfig, option, settings

_SPECK_HELP = "Parts of a mask below this share of it are left out, 0 to 1; 0 keeps them all."


@settings
class Use:
    """How a trained model is run."""

    detector: Path | None = option(
        None,
        "Run folder of the model's detector, or its class FILE.py:Name; by default as recorded by fit-transfer.",
        may_name_class=True,
    )
    device: str = option("auto", DEVICE_HELP, identity=False)


@settings
class ModelConfig(StageConfig):
    """Which model it is, for every stage that takes a trained one."""

    model: Path | None = option(None, "Run folder of a transfer or e2e model; the newest of --runs if not given.")
    runs: Path = option(Path("runs"), "Folder in which the newest model is looked for.")
    checkpoint: str = option(  # known by the weights
        "best", "Which weights of that run.", choices=("best", "last"), identity=False
    )


@settings
class EvaluateConfig(Use, ModelConfig):
    """AP on a category set."""

    table = "evaluate"
    split: str = option("all", "Category set on which AP is reported.", identity=False, may_name_file=True)
    from_: str = option(  # known by what it resolves to
        "auto",
        "cache: the cached detections; images: the whole model; auto: the cache if it is there.",
        choices=("auto", "cache", "images"),
        identity=False,
    )
    max_detections: int = option(
        100,
        "Detections of an image and category that AP counts, the best ones; COCO counts 100.",
        identity=False,
        minimum=1,
    )
    against: Path | None = option(
        None,
        "File with other masks of val's boxes, measured beside the model's: COCO results, or an annotation file.",
        identity=False,
    )


@settings
class PredictConfig(Use, ModelConfig):
    """Masks for new images."""

    table = "predict"
    out: Path = option(Path("predictions"), "Folder to write: overlays and results.json.")
    score_threshold: float = option(0.5, "Detections below this score are left out.", minimum=0, maximum=1)
    limit: int = option(0, "Segment at most this many images; 0: all.", minimum=0)
    speck_share: float = option(0.02, _SPECK_HELP, minimum=0, maximum=1)
    batch: int = option(
        1, "Most images (or tiles) that go through the backbone together; only those of one size do.", minimum=1
    )
    tile: int = option(
        0,
        "Side of the tiles, in pixels, that larger images are cut into by SAHI, beside the look at the whole image; 0: "
        "none. Needs the extra sahi.",
        minimum=0,
    )
    runtime: str = option(
        "torch",
        "torch: PyTorch; onnx: the model's graph in onnxruntime, in float32 on the CPU (extra onnx); auto: onnx for "
        "100 images or more that PyTorch would segment in float32 on the CPU.",
        choices=("auto", "torch", "onnx"),
        identity=False,
    )


@settings
class AnnotateConfig(Use, ModelConfig):
    """Masks for the boxes of an annotation file that have none."""

    table = "annotate"
    images: Path | None = option(
        None, "Folder of the images; that of [data] if the file is one of its annotation files."
    )
    out: Path = option(Path("annotated.json"), "Annotation file to write.")
    mask_format: str = option(
        "polygons",
        "polygons: few points, to be corrected by hand, holes filled; rle: the exact pixels.",
        choices=("polygons", "rle"),
    )
    speck_share: float = option(0.02, _SPECK_HELP, minimum=0, maximum=1)
    min_confidence: float = option(
        0.0,
        "Masks below this confidence are left out, 0 to 1: the IoU with the true mask that the model expects.",
        minimum=0,
        maximum=1,
    )
    wanted_iou: float = option(
        0.0,
        "Choose min-confidence so that the filled masks have this mean IoU, 0 to 1, by what is measured on the masks "
        "of val; 0: do not.",
        minimum=0,
        maximum=1,
    )
    review: Path | None = option(None, "Folder for a page on which a person goes through the masks, and a worklist.")
    review_limit: int = option(
        2000, "Masks on that page, the least certain ones; the worklist has all.", identity=False, minimum=1
    )
    second_opinion: str = option(  # known by the teacher's own identity
        "",
        f"Teacher whose masks are compared with the model's: {TEACHER_HELP}.",
        identity=False,
        may_name_class=True,
    )
    best_of: str = option(
        "",
        "The same, and the mask is the teacher's in each category in which it is the better one, measured on val.",
        identity=False,
        may_name_class=True,
    )


@settings
class ContactSheetConfig(Use, StageConfig):
    """Predictions of several models for the same images in one picture, as in the paper's Figures 4 and 5."""

    table = "contact-sheet"
    out: Path = option(Path("contact-sheet.png"), "Picture to write: .png or .jpg.")
    checkpoint: str = option("best", "Which weights of the runs.", choices=("best", "last"))
    score_threshold: float = option(0.5, "Detections below this score are left out.", minimum=0, maximum=1)
    limit: int = option(8, "Take at most this many images, the first ones; 0: all.", minimum=0)
    columns: int = option(4, "Images side by side; further ones follow below.", minimum=1)
    truth: bool = option(False, "Add a row with the annotations of val of [data], whose images these must be.")


@settings
class ReportConfig(StageConfig):
    """One HTML page about evaluated runs."""

    table = "report"
    out: Path = option(Path("report.html"), "File to write.")
    images: int = option(12, "Images in the gallery; 0: none.", minimum=0)
    score_threshold: float = option(
        0.5, "Detections below this score are not drawn in the gallery.", minimum=0, maximum=1
    )
