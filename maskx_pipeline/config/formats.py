"""Data sets in other formats, which `maskx convert` writes in COCO's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.settings import StageConfig, option, settings


@dataclass(frozen=True, slots=True)
class Format:
    """A subcommand of `maskx convert`.

    Attributes:
        config: Its settings; their table is the subcommand's name.
        module: Has ``convert(config, *, overwrite)``, which returns the folder that it wrote, and
            ``read_report(folder)``, what was counted, for ``--json``.
        summary: The line of `maskx convert --help`.
        about: The text of its own ``--help``.
    """

    config: type[StageConfig]
    module: str
    summary: str
    about: str


@settings
class VisualGenomeConfig(StageConfig):
    """From Visual Genome's own files (v1.4) to COCO-format annotations; the defaults are the paper's (section 5)."""

    table = "visual-genome"
    objects: Path = option(Path("data/visual-genome/objects.json"), "Visual Genome's objects.json.")
    image_data: Path = option(Path("data/visual-genome/image_data.json"), "Visual Genome's image_data.json.")
    coco_val: Path | None = option(
        None, "COCO's instances_val2017.json, or a list of image ids: these images become val."
    )
    out: Path = option(
        Path("data/vg3k"), "Folder to write: train.json, val.json, test.json, coco-categories.json, report.json."
    )
    categories: int = option(3000, "Most frequent synsets that become categories.", minimum=1)
    test_count: int = option(5000, "Images of test: the last of those that are not in COCO.", minimum=0)


FORMATS = (
    Format(
        config=VisualGenomeConfig,
        module="maskx_pipeline.convert.visual_genome",
        summary="Visual Genome v1.4: boxes of its frequent synsets.",
        about="Convert Visual Genome v1.4 to boxes of its most frequent synsets, with COCO's 80 categories first.\n\n"
        "Needs no project: `maskx init` comes after it, with the annotations that this writes. OUT/report.json counts "
        "every dropped object by its reason; OUT/coco-categories.json says which category is which of COCO's.",
    ),
)
"""A new format is its own file in convert/, and its settings and an entry here."""
