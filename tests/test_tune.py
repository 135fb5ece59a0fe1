"""`maskx tune` as a whole: what may reach its result, how it stops bad designs, resumes, and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from cache_fakes import without_checksums
from tiny_project import maskx
from tune_world import NAMES, SEEN, make_project

from maskx_pipeline.commands import run
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.stages.tune_fits import Bench

FOLDER = Path("runs/tune/designs@seen")
TUNE = ["tune", "--designs", "designs.toml"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a cache, and nothing tuned."""
    return make_project(tmp_path_factory.mktemp("tune") / "project")


@dataclass(frozen=True)
class Tuned:
    """A project in which tune is through, and what that printed; both are only read."""

    folder: Path
    found: dict[str, Any]


@pytest.fixture(scope="session")
def measured(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """With --no-refit."""
    return tuned_copy(project, tmp_path_factory.mktemp("measured") / "project", "--no-refit")


@pytest.fixture(scope="session")
def refitted(measured: Tuned, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """With the model that is fitted in the end."""
    return tuned_copy(measured.folder, tmp_path_factory.mktemp("refitted") / "project")


@pytest.fixture
def here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, as the working directory."""
    return copy_here(project, tmp_path, monkeypatch)


@pytest.fixture
def measured_here(measured: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one in which tune is through with --no-refit, as the working directory."""
    return copy_here(measured.folder, tmp_path, monkeypatch)


@pytest.fixture
def refitted_here(refitted: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one in which tune is through, as the working directory."""
    return copy_here(refitted.folder, tmp_path, monkeypatch)


def copy_here(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(project, folder)
    monkeypatch.chdir(folder)
    return folder


def tuned_copy(project: Path, folder: Path, *options: str) -> Tuned:
    """A copy of a project, tuned in one thread."""
    shutil.copytree(project, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done = maskx(folder, *TUNE, "--json", *options)
    torch.set_num_threads(threads)
    return Tuned(folder, without_seconds(done.stdout))


def tuned(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What the command prints with --json, without the seconds that it took."""
    capsys.readouterr()
    assert run([*TUNE, "--json", *options]) == 0
    return without_seconds(capsys.readouterr().out)


def without_seconds(printed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed)
    for design in (*found["designs"], *filter(None, [found["halved"]])):
        assert design.pop("seconds") >= 0
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all weights below a folder."""
    return {
        str(path.relative_to(folder)): sha256_of_weights(load_weights(path))
        for path in sorted(folder.rglob("*.safetensors"))
    }


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The error that a command ends with."""
    capsys.readouterr()
    assert run(list(words)) == 1
    return capsys.readouterr().err


def test_masks_of_unseen_categories_are_never_read(
    refitted: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them corrupted, in train and val: figures, choice, expectation and every weight are bit-identical."""
    sound = refitted.found, digests(refitted.folder)
    monkeypatch.chdir(make_project(tmp_path / "corrupt", corrupt=("fox",)))
    assert (tuned(capsys), digests(Path())) == sound
    monkeypatch.chdir(make_project(tmp_path / "seen", corrupt=("ant",)))
    assert tuned(capsys, "--no-refit")["designs"] != sound[0]["designs"]


def test_masks_of_a_fold_are_hidden_from_its_fit(
    measured: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A category's training masks corrupted: the fits of its own fold stay, to the bit, and those of others do not."""
    found = measured.found
    hidden = [2 in fold for fold in found["folds"]].index(True)
    half = [list(fold) == ["2"] for fold in found["halved"]["folds"]].index(True)
    monkeypatch.chdir(make_project(tmp_path / "corrupt", corrupt=("ant",), parts=("train",)))
    tuned(capsys, "--no-refit")
    before, after = digests(measured.folder / FOLDER), digests(FOLDER)
    for name in before.keys() & after.keys():
        of_its_own = f"@{hidden + 1}/" in name or f"@half-{half + 1}/" in name
        assert (before[name] == after[name]) == of_its_own, name
    boxes_of_all = json.loads((FOLDER / f"plain@{hidden + 1}" / "run.json").read_text())["seen"]
    assert 2 not in boxes_of_all


def test_the_worse_half_stops_after_the_first_fold(measured: Tuned) -> None:
    """Of three designs two go on, and the class-agnostic one always does."""
    found, folder = measured.found, measured.folder / FOLDER
    folds = {design["name"]: len(design["folds"]) for design in found["designs"]}
    first = {design["name"]: design["mask_iou_of_folds"][0] for design in found["designs"]}
    better = sorted(first, key=lambda name: -first[name])[:2]
    assert folds == {name: 3 if name in (*better, "plain") else 1 for name in first}
    assert {path.parent.name for path in folder.glob("*/run.json")} == {
        *(f"{name}@{fold}" for name, count in folds.items() for fold in range(1, count + 1)),
        *(f"{found['best']}@half-{number}" for number in range(1, 6)),
    }


def test_the_best_is_measured_again_on_halves_of_the_folds(measured: Tuned) -> None:
    """Folds of 2, 2 and 1 categories: five halves of one, each within a fold; nothing else is fitted on them."""
    found = measured.found
    halves = [{int(id_) for id_ in fold} for fold in found["halved"]["folds"]]
    assert [len(half) for half in halves] == [1] * 5
    assert [halves[0] | halves[1], halves[2] | halves[3], halves[4]] == [set(fold) for fold in found["folds"]]
    assert found["halved"]["name"] == found["best"]
    for number, half in enumerate(halves, start=1):
        run_folder = measured.folder / FOLDER / f"{found['best']}@half-{number}"
        seen = json.loads((run_folder / "run.json").read_text())["seen"]
        assert set(seen) == {id_ for id_, name in NAMES.items() if name in SEEN} - half


def test_it_is_finished_and_then_returns_at_once(
    refitted: Tuned, refitted_here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call fits nothing and prints the same."""

    def refuse(self: Bench, task: object) -> None:
        raise AssertionError(task)

    monkeypatch.setattr(Bench, "run", refuse)
    assert tuned(capsys) == refitted.found


def test_interrupted_it_continues(
    measured: Tuned, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the fifth fit, it does not fit the first four again, and ends as if it had not stopped."""
    whole = measured.found
    original, calls, fitted = Bench.run, [0], []

    def stop_at_fifth(self: Bench, task: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise KeyboardInterrupt
        if not (task.folder / "last.safetensors").exists():
            fitted.append(task.folder.name)
        return original(self, task)

    monkeypatch.setattr(Bench, "run", stop_at_fifth)
    assert run(TUNE) == 130
    before = len(fitted)
    again = tuned(capsys, "--no-refit")
    assert before == 4
    every = (*whole["designs"], whole["halved"])
    assert len(set(fitted)) == len(fitted) == sum(len(design["folds"]) for design in every)
    for name in ("designs", "shapes", "halved"):
        assert again[name] == whole[name]


def test_the_best_is_refitted_and_says_what_to_expect(
    refitted: Tuned, refitted_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On all seen categories; its run.json has the expectation, and evaluate prints it beside what it measures."""
    found = refitted.found
    content = json.loads((Path(found["run"]) / "run.json").read_text())
    assert content["seen"] == [id_ for id_, name in NAMES.items() if name in SEEN]
    assert content["expected"] == found["expected"]
    best = next(design for design in found["designs"] if design["name"] == found["best"])
    coarse, fine = (
        [row["mask_iou"] for fold in design["folds"] for row in fold.values()] for design in (best, found["halved"])
    )
    assert len(coarse) == len(fine) == found["expected"]["hidden"] == 5
    # 2, 2, 2, 2 and 1 were hidden, then 1 each: of the 4 that came back, and the 5 that are left.
    wanted = sum(fine) / 5 + 5 / 4 * (sum(fine) - sum(coarse)) / 5
    assert found["expected"]["mask_iou"]["mean"] == pytest.approx(wanted)
    assert found["expected"]["unseen"] == 1
    assert run(["evaluate"]) == 0
    assert "Expected on unseen categories, by `maskx tune`" in capsys.readouterr().out
    assert run(["evaluate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expected"] == found["expected"]
    assert run(["annotate", "val.json", "--images", "images", "--evaluate"]) == 0
    assert "Expected on unseen categories, by `maskx tune`" in capsys.readouterr().out


def test_a_finished_result_is_refitted_when_that_was_left_out(measured: Tuned, refitted: Tuned) -> None:
    """--no-refit is no part of what it is."""
    assert measured.found["run"] == ""
    run_folder = refitted.folder / refitted.found["run"]
    assert "expected" in json.loads((run_folder / "run.json").read_text())
    assert digests(measured.folder).items() < digests(refitted.folder).items()


def test_another_question_needs_overwrite(measured_here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another design, or another number of folds."""
    assert "folds: 3 -> 2" in refused(capsys, *TUNE, "--folds", "2")
    Path("designs.toml").write_text('[plain]\nembedding = "none"\n[wide]\nhead-width = 16\nembedding = "cls"\n')
    assert "design wide: not given ->" in refused(capsys, *TUNE)
    found = tuned(capsys, "--no-refit", "--overwrite")
    assert [design["name"] for design in found["designs"]] == ["plain", "wide"]


def test_one_seen_category_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None can be hidden."""
    Path("seen.txt").write_text("ant")
    error = refused(capsys, *TUNE)
    assert "only 1 category whose masks may be used" in error
    assert not Path("runs/tune").exists()


def test_of_few_categories_it_says_what_it_cannot_know(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three: each is a fold, and there is no interval."""
    Path("seen.txt").write_text("ant\ncat\nelk")
    found = tuned(capsys, "--no-refit")
    assert sorted(found["folds"]) == [[2], [5], [8]]
    assert found["halved"] is None
    assert found["expected"]["mask_iou"]["low"] is None
    assert any("too few for an interval" in sentence for sentence in found["says"])


def test_of_two_categories_t_is_left_out_where_it_cannot_learn_from_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Similarities to a single category tell nothing apart; the command names the design and goes on."""
    Path("seen.txt").write_text("ant\ncat")
    assert run([*TUNE, "--no-refit"]) == 0
    out, err = capsys.readouterr()
    assert "ours is left out: each fit has one category." in err
    assert "ours" not in out
    assert "plain" in out


def test_a_cache_without_a_seen_category_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fitted."""
    with h5py.File("runs/cache.h5", "r+") as file:
        without_checksums(file)
        labels = file["train/labels"]
        labels[...] = [2 if label == 1 else label for label in labels[...]]
    error = refused(capsys, *TUNE)
    assert "no RoIs" in error
    assert "ant" in error
    assert not Path("runs/tune").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[mine]\nembeding = "cls"', "did you mean `embedding`?"),
        ('[mine]\ncache = "other.h5"', "cache is no part of a design"),
        ("[mine]\nclass-specific = true", "is no part of a design"),
        ('embedding = "cls"', "embedding is no table"),
        ("", "holds no design"),
        ("[mine", "is not valid TOML"),
        ('["a/b"]\nembedding = "cls"', "is a path, not a name"),
        ('[mine]\nembedding = "glove"', "Design mine:"),
    ],
)
def test_a_wrong_design_is_an_error(text: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fitted; the message names it."""
    Path("designs.toml").write_text(text, encoding="utf-8")
    assert message in refused(capsys, *TUNE)
    assert not Path("runs/tune").exists()


def test_an_unknown_list_names_the_nearest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a file that is not there is said to be none."""
    assert "did you mean `quick`?" in refused(capsys, "tune", "--designs", "quik")
    assert "There is no file of designs" in refused(capsys, "tune", "--designs", "none.toml")


def test_val_without_a_mask_of_a_seen_category_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to measure."""
    with h5py.File("runs/cache.h5", "r+") as file:
        without_checksums(file)
        file["val/ground_truth/has_mask"][...] = 0
    assert "no mask of any seen category" in refused(capsys, *TUNE)


@pytest.mark.parametrize("designs", ["quick", "paper", "all"])
def test_every_named_list_has_designs_that_can_be_fitted(
    designs: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is checked against the cache before the first fit, which is stopped here."""

    def stop(self: Bench, task: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "run", stop)
    assert run(["tune", "--designs", designs]) == 130


@pytest.mark.slow
def test_several_processes_find_the_same(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures and weights of two at once are those of one after the other."""
    one = tuned(capsys, "--out", "one", "--no-refit")
    two = tuned(capsys, "--out", "two", "--no-refit", "--jobs", "2")
    assert one["designs"] == two["designs"]
    assert digests(Path("one")) == digests(Path("two"))
