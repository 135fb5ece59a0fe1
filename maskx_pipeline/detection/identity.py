"""What a detector is, known from its run folder without building it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.config.detection import IMAGENET, NONE
from maskx_pipeline.data.records import Category, categories_from_json, categories_to_json
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import BEST_FILE, LAST_FILE, Run
from maskx_pipeline.errors import ConfigError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.settings import digest_of

_KEY = "detector_identities"


@dataclass(frozen=True, slots=True)
class DetectorRun:
    """What run.json says of a detector.

    Attributes:
        config: The settings of its training, or those that describe an imported one.
        categories: By ascending label, 1..K.
        identities: Of the weights ``best`` and ``last``, where the run has come so far.
    """

    config: DetectConfig
    categories: tuple[Category, ...]
    identities: Mapping[str, str]


def read_detector_run(run_folder: Path) -> DetectorRun:
    """Read what ``maskx detect train`` or ``maskx detect import`` wrote of a detector.

    Raises:
        RunError: No run, another stage's run, or one of another version of maskx.
    """
    content = read_run(run_folder, stage="detect")
    try:
        return DetectorRun(
            config=DetectConfig.from_mapping(content["config"], source=str(run_folder / "run.json")),
            categories=categories_from_json(content["categories"]),
            identities=dict(content.get(_KEY, {})),
        )
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run_folder} was not written by this version of maskx: {error}", "run `maskx detect train` again"
        ) from error


def identity_of(config: DetectConfig, categories: Sequence[Category], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of all that decides what a trained detector finds and how it pools.

    Args:
        config: Its forward settings count, and no others.
        categories: By ascending label.
    """
    return digest_of([sha256_of_weights(tensors), config.forward(), categories_to_json(categories)])


def record_identities(run: Run, config: DetectConfig, categories: Sequence[Category]) -> None:
    """Note in run.json the identity of each of a run's weights files, which are whole now."""
    found = distributed.on_main(lambda: _identities_of_files(run.folder, config, categories))
    run.update(**{_KEY: found})


def detector_identities(run_folder: Path) -> dict[str, str]:
    """The identity of each of a run's weights: ``best`` and ``last``, or one of them.

    They stand in run.json; those of a run that is not finished are computed from its files.

    Raises:
        RunError: No run, another stage's run, or one without weights so far.
        WeightsError: The weights of a run that is not finished are damaged.
    """
    run = read_detector_run(run_folder)
    found = dict(run.identities) or _identities_of_files(run_folder, run.config, run.categories)
    if not found:
        raise RunError(f"{run_folder} holds no weights yet.", "run `maskx detect train`; it continues where it stopped")
    return found


def check_identity(run: DetectorRun, weights: Path, tensors: Mapping[str, Tensor]) -> str:
    """The identity of weights that were loaded.

    Args:
        weights: The file of the run that they are from.

    Raises:
        WeightsError: It is not the identity that the run recorded.
    """
    found = identity_of(run.config, run.categories, tensors)
    if run.identities.get(weights.stem, found) != found:
        raise WeightsError(
            f"{weights} is not the file that its run wrote, or run.json was changed since.",
            "put the file back, or run the stage again with --overwrite",
        )
    return found


def trained_with_masks(config: DetectConfig) -> bool:
    """Whether a detector of these settings may have started from weights that were trained with masks."""
    return config.allow_mask_weights and config.backbone_weights not in (IMAGENET, NONE)


def refuse_mask_weights(source: str) -> None:
    """Refuse to train on a part of the categories with a detector that was trained with masks of others.

    Args:
        source: What the detector came from, as the beginning of a sentence.

    Raises:
        WeightsError: Always.
    """
    raise WeightsError(
        f"{source} needed --allow-mask-weights. It comes from weights trained with masks: no category would be unseen.",
        "train a detector from ImageNet or Faster R-CNN weights; or, if no split is studied, give --allow-mask-weights "
        "here too",
    )


def _identities_of_files(folder: Path, config: DetectConfig, categories: Sequence[Category]) -> dict[str, str]:
    paths = [folder / name for name in (BEST_FILE, LAST_FILE)]
    return {path.stem: identity_of(config, categories, load_weights(path)) for path in paths if path.is_file()}
