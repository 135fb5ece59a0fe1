"""From the boxes to the report, in one command."""

from __future__ import annotations

from maskx_pipeline.settings import StageConfig, option, settings

TRAIN, IMPORT = "train", "import"


@settings
class RunConfig(StageConfig):
    """What `maskx run` does; how, the tables of its stages say."""

    table = "run"
    detector: str = option(
        TRAIN,
        "train: a new detector, as `maskx detect train` does; import: a trained one, as `maskx detect import` does.",
        choices=(TRAIN, IMPORT),
    )
