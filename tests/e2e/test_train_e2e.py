"""The whole stage: leaks, resuming, starts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from e2e_world import JOINT, detect_config, joint_config, transfer_config, write_data
from torchvision.models import resnet18

from maskx_pipeline.config import DataConfig, E2EConfig, EvaluateConfig, ExportConfig, PredictConfig, TransferConfig
from maskx_pipeline.detection import image_training as training
from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.e2e.load import load_e2e_model
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.errors import ConfigError, MaskXError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.stages.detect_train import train_detector
from maskx_pipeline.stages.e2e import train_e2e
from maskx_pipeline.stages.evaluate import evaluate
from maskx_pipeline.stages.export_embeddings import export_embeddings
from maskx_pipeline.stages.fit_transfer import fit_transfer
from maskx_pipeline.stages.predict import predict
from maskx_pipeline.transfer.embedding.class_weights import ClassWeightVectors
from maskx_pipeline.transfer.mask_predictors import TransferPredictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joint")


@pytest.fixture(scope="module")
def data(folder: Path) -> DataConfig:
    return write_data(folder / "data")


@pytest.fixture(scope="module")
def detector(folder: Path, data: DataConfig) -> Path:
    return train_detector(detect_config(out=folder / "detector"), data)


@pytest.fixture(scope="module")
def fitted(folder: Path, data: DataConfig, detector: Path) -> Path:
    """A stage-wise model of the same seen categories."""
    cache = export_embeddings(
        ExportConfig(
            detector=detector, out=folder / "cache.h5", roi_size=7, mask_size=14, amp="off", workers=0, device="cpu"
        ),
        data,
    )
    config = transfer_config(
        form="linear", cache=cache, detector=detector, out=folder / "transfer", epochs=2.0, rois_per_batch=8,
        amp="off", eval_every=0.0, device="cpu", split=joint_config(folder).split,
    )  # fmt: skip
    return fit_transfer(config, data)


def _train(
    config: E2EConfig, data: DataConfig, *, transfer: TransferConfig | None = None, asked: tuple[str, ...] = ()
) -> Path:
    return train_e2e(config, data, detect=detect_config(), transfer=transfer or transfer_config(), asked=asked)


@pytest.fixture(scope="module")
def trained(folder: Path, data: DataConfig) -> Path:
    """From the backbone, the published form."""
    return _train(joint_config(folder, init=Path("backbone"), name="whole"), data)


def test_unseen_masks_never_change_the_weights(folder: Path, trained: Path) -> None:
    """Rule 1, through the whole stage: other masks on every unseen object, the same bits in both files."""
    spoiled = write_data(folder / "spoiled", spoil_unseen=True).replace(
        val_images=folder / "data", val_annotations=folder / "data" / "val.json"
    )
    other = _train(joint_config(folder, init=Path("backbone"), name="spoiled"), spoiled)
    for name in ("last.safetensors", "best.safetensors"):
        assert (trained / name).read_bytes() == (other / name).read_bytes()


def test_unseen_masks_never_change_the_weights_where_their_boxes_do(folder: Path, data: DataConfig) -> None:
    """With a box loss unseen objects supervise by their boxes, and still not by a pixel of their masks."""
    spoiled = write_data(folder / "spoiled-boxes", spoil_unseen=True).replace(
        val_images=folder / "data", val_annotations=folder / "data" / "val.json"
    )
    written = []
    for name, of_run, loss in (("boxes", data, "projection"), ("boxes-spoiled", spoiled, "projection"),
                               ("no-boxes", data, "none")):  # fmt: skip
        short = {"warmup_iterations": 0, "iterations": 2, "steps": (1,), "eval_every": 0}
        config = joint_config(folder, init=Path("backbone"), name=name, **short)
        run = _train(config, of_run, transfer=transfer_config(box_loss=loss))
        written.append((run / "last.safetensors").read_bytes())
    assert written[0] == written[1]
    assert written[0] != written[2]


@pytest.mark.slow
def test_a_fitted_model_goes_on_with_the_box_loss_that_is_asked_for(
    folder: Path, data: DataConfig, fitted: Path
) -> None:
    """It says how to train and not what the model is, so a model fitted without one may take it up."""
    losses = []
    for loss in ("projection", "none"):
        config = joint_config(folder, init=fitted, name=f"goes-on-{loss}", warmup_iterations=0)
        run = _train(config, data, transfer=transfer_config(box_loss=loss), asked=("box_loss",))
        assert read_run(run)["transfer"]["box_loss"] == loss
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses.append([line["loss_projection"] for line in lines if "loss_projection" in line])
    assert losses[0][-1] > 0
    assert losses[1] == []


def test_what_stops_a_new_mask_model_is_found_before_anything_is_written(
    folder: Path, data: DataConfig, detector: Path
) -> None:
    """So `--overwrite` does not remove an earlier run for nothing."""
    config = joint_config(folder, init=detector, name="never")
    with pytest.raises(ConfigError, match="--head-width"):
        _train(config, data, transfer=transfer_config(mask_head="resnet4", head_width=24))
    assert not (folder / "e2e" / "never").exists()


def test_stopped_training_resumes_bit_identically(
    folder: Path, data: DataConfig, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 4: between two saved states, no bit of weights or metrics changes."""
    config = joint_config(folder, init=Path("backbone"), name="stopped", checkpoint_every=2)
    read_batches = training.batches

    def stop_early(*args: Any, start: int, **kwargs: Any) -> Any:
        for step, batch in enumerate(read_batches(*args, start=start, **kwargs), start=start):
            if step == 3:
                raise RuntimeError("stopped")
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(training, "batches", stop_early)
        with pytest.raises(RuntimeError, match="stopped"):
            _train(config, data)
    run = _train(config, data)
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        assert (trained / name).read_bytes() == (run / name).read_bytes(), name


def test_the_run_is_recorded_and_finished_runs_are_left_alone(folder: Path, data: DataConfig, trained: Path) -> None:
    """All losses, AP of boxes and masks, and the settings of both models."""
    record = json.loads((trained / "run.json").read_text())
    assert set(record["results"]) == {"box_ap", "seen_mask_ap", "unseen_mask_ap"}
    assert record["seen"] == [5, 10]
    assert record["transfer"]["form"] == "published"
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    named = {"loss_mask", "loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert any(named < set(line) for line in lines)
    before = (trained / "last.safetensors").stat().st_mtime_ns
    _train(joint_config(folder, init=Path("backbone"), name="whole"), data)
    assert (trained / "last.safetensors").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="stop-gradient"):
        _train(joint_config(folder, init=Path("backbone"), name="whole", stop_gradient=False), data)
    with pytest.raises(RunError, match="head-width"):
        _train(joint_config(folder, init=Path("backbone"), name="whole"), data, transfer=transfer_config(head_width=9))


def test_a_trained_model_is_evaluated_and_predicts_from_images_alone(
    folder: Path, data: DataConfig, trained: Path
) -> None:
    """Its masks are of features as trained, not rounded to float16; a cache is refused."""
    evaluation = evaluate(EvaluateConfig(model=trained, checkpoint="last", device="cpu"), data)
    record = json.loads((trained / "run.json").read_text())["results"]
    assert evaluation.source == "images"
    for row, name in zip(evaluation.sets, ("all", "seen", "unseen"), strict=True):
        assert row.name == name
    assert evaluation.sets[0].box.ap == record["box_ap"]
    assert evaluation.sets[1].mask.ap == record["seen_mask_ap"]
    assert evaluation.sets[2].mask.ap == record["unseen_mask_ap"]
    with pytest.raises(ConfigError, match="from images"):
        evaluate(EvaluateConfig(model=trained, from_="cache", device="cpu"), data)
    out = folder / "predictions"
    predict(PredictConfig(model=trained, out=out, device="cpu", limit=1), [data.val_images], data)
    assert (out / "results.json").is_file()


def test_a_start_from_a_detector_goes_on_with_its_weights(folder: Path, data: DataConfig, detector: Path) -> None:
    """With learning rate 0 nothing moves: the detector is that of the run, the linear T reads its components."""
    config = joint_config(folder, init=detector, name="still", lr=0.0, iterations=1, eval_every=0)
    run = _train(config, data, transfer=transfer_config(form="linear"))
    loaded = load_e2e_model(run, checkpoint="last")
    assert loaded.own_detector is not None
    own, predictor = loaded.own_detector.model, loaded.mask_model.predictor
    weights = load_weights(detector / "best.safetensors")
    joint = {n: v for n, v in own.state_dict().items() if "running" not in n and "batches" not in n}
    assert all(torch.equal(value, weights[name]) for name, value in joint.items())
    assert isinstance(predictor, TransferPredictor)
    raw = ClassWeightVectors(loaded.config.embedding).vectors(class_weights(own))
    assert torch.equal(predictor.embedding.rows, predictor.embedding(raw))  # what was saved is T's view of these
    assert loaded.mask_model.get_buffer("predictor.embedding.basis").shape[1] == 2
    frozen = [*own.parameters(), *loaded.mask_model.parameters()]
    assert all(parameter.requires_grad is False for parameter in frozen)


def test_a_start_from_a_stage_wise_model_goes_on_with_its_mask_head(
    folder: Path, data: DataConfig, fitted: Path
) -> None:
    """Its own settings hold, whatever [fit-transfer] says; what it read of the detector it goes on reading."""
    config = joint_config(folder, init=fitted, name="on", lr=0.0, iterations=1, eval_every=0)
    run = _train(config, data, transfer=transfer_config(head_width=32))
    joint, alone = load_weights(run / "last.safetensors"), load_weights(fitted / "best.safetensors")
    for name, value in alone.items():
        assert torch.allclose(joint[f"mask_model.{name}"], value, atol=1e-5), name


def test_what_cannot_be_a_start_is_refused_with_nothing_written(
    folder: Path, data: DataConfig, detector: Path, fitted: Path, trained: Path, tmp_path: Path
) -> None:
    """Each is an error that says what to do, before there is a run folder."""
    wrong: list[tuple[str, dict[str, Any], TransferConfig, tuple[str, ...]]] = [
        ("under the condition pca", {"init": Path("backbone")}, transfer_config(form="linear"), ()),
        ("under the kernel rbf", {"init": Path("backbone")}, transfer_config(kernel="rbf"), ()),
        ("holds no run", {"init": tmp_path / "nothing"}, transfer_config(), ()),
        ("is a file", {"init": detector / "best.safetensors"}, transfer_config(), ()),
        ("a run of `maskx e2e`", {"init": trained}, transfer_config(), ()),
        ("head-width is 8, and 32", {"init": fitted}, transfer_config(head_width=32), ("head_width",)),
        ("RoI features of side 7", {"init": fitted, "roi_size": 14}, transfer_config(), ()),
        ("unseen here: dog", {"init": fitted, "split": f"@{tmp_path / 'one.txt'}"}, transfer_config(), ()),
        ("no such name", {"init": detector}, transfer_config(embedding="glove"), ()),
    ]
    (tmp_path / "one.txt").write_text("cat\n", encoding="utf-8")
    glove = tmp_path / "glove.txt"
    glove.write_text("cat 1 2\ndog 2 1\n", encoding="utf-8")
    words = transfer_config(embedding="glove", embedding_file=glove)
    wrong += [("cow (cow)", {"init": init}, words, ()) for init in (detector, Path("backbone"))]
    for said, changes, transfer, asked in wrong:
        with pytest.raises(MaskXError) as caught:
            _train(joint_config(folder, out=tmp_path / "e2e", **changes), data, transfer=transfer, asked=asked)
        if said != "no such name":
            assert said in str(caught.value)
    content = json.loads(data.train_annotations.read_text())
    content["categories"][0]["name"] = "lion"
    for name in ("train.json", "val.json"):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "lion.txt").write_text("lion\n", encoding="utf-8")
    other = data.replace(train_annotations=tmp_path / "train.json", val_annotations=tmp_path / "val.json")
    config = joint_config(folder, init=detector, out=tmp_path / "e2e", split=f"@{tmp_path / 'lion.txt'}")
    with pytest.raises(RunError, match="not the 3 of the training data"):
        _train(config, other)
    assert not (tmp_path / "e2e").exists()


def test_a_file_without_a_needed_word_is_refused_with_nothing_written(
    folder: Path, data: DataConfig, fitted: Path, tmp_path: Path
) -> None:
    """Stage-wise; the error lists the words, and a run that was there is left as it was."""
    glove = tmp_path / "glove.txt"
    glove.write_text("cat 1 2\n", encoding="utf-8")
    config = transfer_config(
        embedding="glove", embedding_file=glove, cache=folder / "cache.h5", detector=folder / "detector",
        out=fitted.parent, name=fitted.name, split=joint_config(folder).split, device="cpu",
    )  # fmt: skip
    before = (fitted / "run.json").read_bytes()
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"no vector for these categories: dog \(dog\), cow \(cow\)"):
            fit_transfer(config, data, overwrite=overwrite)
    with pytest.raises(ConfigError, match="no vector"):
        fit_transfer(config.replace(out=tmp_path / "transfer"), data)
    assert (fitted / "run.json").read_bytes() == before
    assert not (tmp_path / "transfer").exists()


@pytest.mark.slow
def test_weights_that_saw_masks_are_refused_for_a_split_until_allowed_again(data: DataConfig, tmp_path: Path) -> None:
    """Allowed for the detector, they leave no category unseen: cache, stage-wise and joint training know it."""
    weights = tmp_path / "mask-rcnn.pth"
    of_masks = {"roi_heads.mask_head.0.0.weight": torch.zeros(1)}
    torch.save({f"backbone.body.{n}": v for n, v in resnet18().state_dict().items()} | of_masks, weights)
    detect = detect_config(out=tmp_path / "detector", backbone_weights=str(weights))
    joint = joint_config(tmp_path, init=Path("backbone"), iterations=1)
    said = r"trained with masks|does not fit the backbone"
    for wrong in (detect, detect.replace(backbone="resnet50", allow_mask_weights=True)):
        with pytest.raises(WeightsError, match=said):
            train_detector(wrong, data)
        with pytest.raises(WeightsError, match=said):
            train_e2e(joint, data, detect=wrong, transfer=transfer_config())
    assert not (tmp_path / "detector").exists()
    detect = detect.replace(allow_mask_weights=True)
    detector = train_detector(detect, data)
    export = ExportConfig(
        detector=detector, out=tmp_path / "cache.h5", roi_size=7, mask_size=14, amp="off", workers=0, device="cpu"
    )
    split = joint_config(tmp_path).split
    sizes = {"epochs": 1.0, "rois_per_batch": 8, "amp": "off", "eval_every": 0.0, "device": "cpu"}
    fit = transfer_config(
        cache=export_embeddings(export, data), detector=detector, out=tmp_path / "transfer", split=split, **sizes
    )
    for init in (detector, Path("backbone")):
        joint = joint_config(tmp_path, init=init, iterations=1, eval_every=0)
        with pytest.raises(WeightsError, match=r"trained with masks.*\n?.*--allow-mask-weights"):
            train_e2e(joint, data, detect=detect, transfer=transfer_config())
    with pytest.raises(WeightsError, match="trained with masks"):
        fit_transfer(fit, data)
    assert not (tmp_path / "e2e").exists()
    assert not (tmp_path / "transfer").exists()
    fitted = fit_transfer(fit.replace(allow_mask_weights=True), data)
    joint = joint_config(tmp_path, init=fitted, iterations=1, eval_every=0)
    with pytest.raises(WeightsError, match="trained with masks"):
        train_e2e(joint, data, detect=detect, transfer=transfer_config())
    for changes in ({"allow_mask_weights": True}, {"split": "all", "init": detector}):
        joined = train_e2e(joint.replace(**changes), data, detect=detect, transfer=transfer_config())
        assert (joined / "best.safetensors").is_file()
    record = json.loads((fitted / "run.json").read_text())
    assert record["config"]["allow_mask_weights"] is True


def test_a_detector_of_other_weights_may_be_split_although_the_flag_was_given(data: DataConfig, tmp_path: Path) -> None:
    """The flag allows a file; there is none here."""
    config = joint_config(tmp_path, init=Path("backbone"), iterations=1, eval_every=0)
    detect = detect_config(allow_mask_weights=True)
    assert train_e2e(config, data, detect=detect, transfer=transfer_config()).is_dir()


@pytest.mark.parametrize(
    "changes", [{"embedding": "none"}, {"embedding": "randn"}, {"embedding": "none", "mask_branch": "mlp"},
                {"mask_branch": "fcn+mlp", "embedding": "cls"}, {"embedding": "none", "class_specific": True}],
)  # fmt: skip
def test_every_mask_branch_trains_and_loads(folder: Path, data: DataConfig, tmp_path: Path, changes: Any) -> None:
    """The baselines of Tables 1c, 1d and 2 need no live embedding."""
    config = joint_config(folder, init=Path("backbone"), out=tmp_path, iterations=1, eval_every=0)
    run = _train(config, data, transfer=transfer_config(**changes))
    loaded = load_e2e_model(run)
    with_t = isinstance(loaded.mask_model.predictor, TransferPredictor)
    assert with_t == (changes["embedding"] != "none")
    assert loaded.seen == {1, 2}
    assert set(JOINT) <= set(json.loads((run / "run.json").read_text())["config"])


def test_similarities_to_seen_categories_are_trained_on_and_loaded(
    folder: Path, data: DataConfig, detector: Path, tmp_path: Path
) -> None:
    """Those of the start: what T compares with stays fixed, while the class weights move."""
    config = joint_config(folder, init=detector, out=tmp_path, iterations=2, eval_every=0)
    run = _train(config, data, transfer=transfer_config(form="linear", kernel="rbf"))
    predictor = load_e2e_model(run, checkpoint="last").mask_model.predictor
    assert isinstance(predictor, TransferPredictor)
    assert predictor.transfer.similarities is not None
    assert len(predictor.transfer.similarities.centres) == 2
    assert len(predictor.mask_weights()) == 3
