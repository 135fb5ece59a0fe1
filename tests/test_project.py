"""The project folder: maskx.toml, and what wins over what."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskx_pipeline.commands import run
from maskx_pipeline.config import SHAPES_PROJECT, DataConfig, DetectConfig, E2EConfig, ExportConfig, TransferConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import read_project, warn_of_unknown_variables, write_project


def test_flag_wins_over_file_and_file_over_default(tmp_path):
    """Precedence, without the environment (that is click's)."""
    write_project(tmp_path, {"detect": {"lr": 0.5, "iterations": 7}})
    config = read_project(tmp_path).load(DetectConfig, {"lr": 0.25, "momentum": None})
    assert (config.lr, config.iterations, config.momentum) == (0.25, 7, DetectConfig().momentum)


def test_paths_of_the_file_belong_to_the_project_and_those_of_flags_to_the_caller(tmp_path):
    """maskx.toml can be used from anywhere with --project."""
    write_project(tmp_path, {"data": {"train-images": "pictures", "val-images": "/abs/val"}})
    data = read_project(tmp_path).load(DataConfig)
    assert data.train_images == tmp_path / "pictures"
    assert data.val_images == Path("/abs/val")
    detect = read_project(tmp_path).load(DetectConfig, {"out": Path("here")})
    assert detect.out == Path("here")


def test_of_two_settings_in_each_others_place_the_stronger_source_counts(tmp_path, monkeypatch):
    """Iterations of the command line take the place of epochs in maskx.toml, and the other way round."""
    write_project(tmp_path, {"fit-transfer": {"epochs": 4.0}})
    config = read_project(tmp_path).load(TransferConfig, {"iterations": 90})
    assert (config.iterations, config.steps(1000)) == (90, 90)
    assert config.passes(1000) == pytest.approx(90 * 128 / 1000)
    write_project(tmp_path, {"fit-transfer": {"iterations": 90}})
    project = read_project(tmp_path)
    config = project.load(TransferConfig, {"epochs": 3.0, "rois_per_batch": 10})
    assert (config.iterations, config.epochs, config.steps(1000)) == (None, 3.0, 300)
    monkeypatch.setenv("MASKX_FIT_TRANSFER_EPOCHS", "2")
    assert project.load(TransferConfig).iterations is None


def test_both_of_them_at_one_place_are_an_error(tmp_path):
    """In maskx.toml, and on the command line."""
    write_project(tmp_path, {"fit-transfer": {"epochs": 4.0, "iterations": 90}})
    with pytest.raises(ConfigError, match=r"maskx\.toml gives both epochs and iterations of fit-transfer") as caught:
        read_project(tmp_path).load(TransferConfig)
    assert caught.value.hint == "give one of the two"
    write_project(tmp_path, {"fit-transfer": {"epochs": 4.0}})
    with pytest.raises(ConfigError, match="command line or the environment gives both epochs and iterations"):
        read_project(tmp_path).load(TransferConfig, {"epochs": 2.0, "iterations": 90})


def test_epochs_say_nothing_beside_iterations():
    """A finished run of so many iterations stays that, whatever epochs maskx.toml has."""
    config = TransferConfig(iterations=90)
    assert config.identity() == config.replace(epochs=3.0).identity()
    assert config.identity() != config.replace(iterations=91).identity()
    assert TransferConfig().identity() != TransferConfig(epochs=3.0).identity()


def test_what_init_writes_for_shapes_can_be_read(tmp_path):
    """The settings of `maskx init --shapes` are known keys with right values."""
    write_project(tmp_path, SHAPES_PROJECT)
    project = read_project(tmp_path)
    assert project.load(DetectConfig).backbone == "resnet18"
    assert project.load(TransferConfig).epochs > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[detekt]\nlr = 1.0\n", "did you mean `detect`"),
        ("[detect]\nlr = \n", "not valid TOML"),
        ("detect = 3\n", "must be a table"),
        ("[detect]\nlerning-rate = 1\n", "unknown key `lerning-rate`"),
    ],
)
def test_a_broken_file_is_an_error_that_says_what_to_mend(tmp_path, text, said):
    """Nothing in maskx.toml is ignored."""
    (tmp_path / "maskx.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_project(tmp_path)
    assert said in str(error.value)


def test_a_folder_without_maskx_toml_is_no_project(tmp_path):
    """The error names the command that makes one."""
    with pytest.raises(ConfigError, match="maskx init"):
        read_project(tmp_path)


def test_settings_without_an_option_are_read_from_the_environment(tmp_path, monkeypatch):
    """[data] has no options in most commands; its environment variables count all the same."""
    write_project(tmp_path, {"data": {"train-images": "pictures"}, "detect": {"lr": 0.5}})
    monkeypatch.setenv("MASKX_DATA_TRAIN_IMAGES", "other")
    monkeypatch.setenv("MASKX_DETECT_STEPS", "5,7")
    monkeypatch.setenv("MASKX_DETECT_LR", "0.25")
    project = read_project(tmp_path)
    assert project.load(DataConfig).train_images == Path("other")
    assert (project.load(DetectConfig).lr, project.load(DetectConfig).steps) == (0.25, (5, 7))
    assert project.load(DetectConfig, {"lr": None}).lr == 0.5  # a command that offers --lr has read it already
    monkeypatch.setenv("MASKX_DETECT_LR", "fast")
    with pytest.raises(ConfigError, match="MASKX_DETECT_LR"):
        project.load(DetectConfig)


def test_zero_and_false_in_the_environment_count(tmp_path, monkeypatch):
    """As do numbers of settings that have no default of their own."""
    write_project(tmp_path, {"export-embeddings": {"rois-per-object": 2, "flip": True}})
    monkeypatch.setenv("MASKX_EXPORT_EMBEDDINGS_ROIS_PER_OBJECT", "0")
    monkeypatch.setenv("MASKX_EXPORT_EMBEDDINGS_FLIP", "false")
    monkeypatch.setenv("MASKX_FIT_TRANSFER_LAYERS", "3")
    monkeypatch.setenv("MASKX_FIT_TRANSFER_ACTIVATION", "relu")
    project = read_project(tmp_path)
    assert (project.load(ExportConfig).rois_per_object, project.load(ExportConfig).flip) == (0, False)
    assert (project.load(TransferConfig).layers, project.load(TransferConfig).activation) == (3, "relu")


def test_files_named_in_words_belong_to_the_project_too(tmp_path):
    """@names.txt and a weights file in maskx.toml are found from anywhere."""
    (tmp_path / "body.pth").write_bytes(b"")
    tables = {"fit-transfer": {"split": "@seen.txt"}, "detect": {"backbone-weights": "body.pth"}}
    write_project(tmp_path, tables)
    project = read_project(tmp_path)
    assert project.load(TransferConfig).split == f"@{tmp_path / 'seen.txt'}"
    assert project.load(DetectConfig).backbone_weights == str(tmp_path / "body.pth")
    assert project.load(DetectConfig, {"backbone_weights": "none"}).backbone_weights == "none"


@pytest.mark.parametrize(
    "name", ["maskx_detect_lr", "MASX_DETECT_LR", "MASKXDETECT_LR", "MASK_DETECT_LR", "Maskx_Detect_LR"]
)
def test_a_variable_that_is_nearly_one_is_warned_of(name, monkeypatch, caplog):
    """By its beginning: such a one would not be looked at."""
    monkeypatch.setenv(name, "0.1")
    warn_of_unknown_variables()
    assert [record.message for record in caplog.records] == [
        f"{name} names no setting and is ignored; did you mean MASKX_DETECT_LR?"
    ]


def test_variables_of_other_programs_are_left_alone(monkeypatch, caplog):
    """Also where they begin alike; each command says it, once, also without a project."""
    for name in ("MASK_PATH", "MAX_DETECT", "MASKX", "TASK_ID", "MASKED_LM"):
        monkeypatch.setenv(name, "1")
    warn_of_unknown_variables()
    assert not caplog.records


def test_every_command_warns(monkeypatch, capsys):
    """Also one that reads no project."""
    monkeypatch.setenv("MASKX_DETECT_LRR", "0.1")
    assert run(["doctor", "--env", "--json"]) == 0
    assert capsys.readouterr().err.count("MASKX_DETECT_LRR names no setting") == 1


def test_a_variable_that_names_no_setting_is_warned_of(tmp_path, monkeypatch, caplog):
    """Misspelt, it would be ignored in silence; the nearest right one is named."""
    write_project(tmp_path, {})
    monkeypatch.setenv("MASKX_DETECT_LRR", "0.1")
    monkeypatch.setenv("MASKX_DETECT_LR", "0.1")
    monkeypatch.setenv("MASKX_PROJECT", str(tmp_path))
    warn_of_unknown_variables()
    assert [record.message for record in caplog.records] == [
        "MASKX_DETECT_LRR names no setting and is ignored; did you mean MASKX_DETECT_LR?"
    ]


def test_the_table_of_a_detector_takes_any_key(tmp_path):
    """It is handed to a class of the user's; what is a path in the project folder becomes that."""
    (tmp_path / "weights.onnx").touch()
    tables = {"detector": {"file": "weights.onnx", "size-of-image": 640, "name": "nano"}}
    write_project(tmp_path, tables)
    classes = read_project(tmp_path).detector_classes()
    assert classes.settings == {"file": str(tmp_path / "weights.onnx"), "size_of_image": 640, "name": "nano"}
    assert classes.named == frozenset()


@pytest.mark.parametrize(("place", "anchored"), [("own.py:Own", True), ("own.module:Own", False), ("runs/own", True)])
def test_a_detector_that_is_a_file_belongs_to_the_project_and_a_module_to_none(tmp_path, place, anchored):
    """As other paths do; run folders are not code, so they are not among the classes that may be imported."""
    write_project(tmp_path, {"fit-transfer": {"detector": place}})
    project = read_project(tmp_path)
    expected = tmp_path / place if anchored else Path(place)
    assert project.load(TransferConfig).detector == expected
    assert project.detector_classes().named == ({expected} if ":" in place else set())


def test_a_learning_rate_by_the_rule_is_that_of_the_batch_wherever_both_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word may come from maskx.toml, the environment or the command line, as may a number."""
    write_project(tmp_path, {"detect": {"lr": "auto", "images-per-batch": 4}, "e2e": {"lr": 0.5}})
    project = read_project(tmp_path)
    assert project.load(DetectConfig).learning_rate == 0.005
    assert project.load(DetectConfig, {"images_per_batch": 8}).learning_rate == 0.01
    assert project.load(DetectConfig, {"lr": 0.25}).lr == 0.25
    monkeypatch.setenv("MASKX_E2E_LR", "auto")
    assert project.load(E2EConfig).lr == "auto"
    monkeypatch.setenv("MASKX_E2E_LR", "0.125")
    assert project.load(E2EConfig).learning_rate == 0.125
    for wrong in ("fast", "-1"):
        with pytest.raises(ConfigError):
            project.load(DetectConfig, {"lr": wrong})
    assert DetectConfig.from_mapping(project.load(DetectConfig).to_mapping(), source="").lr == "auto"
