"""Figure 3: models with T and baselines in pairs, and the plot of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from maskx_pipeline.commands import run as run_maskx
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import ConfigError, RunError
from maskx_pipeline.stages.plot_splits import plot_splits
from maskx_pipeline.study.splits import read_splits

CATEGORIES = range(1, 7)


def a_run(
    folder: Path,
    *,
    trained: list[int],
    unseen: float | None,
    embedding: str = "cls",
    masks: dict[str, int] | None = None,
    stage: str = "fit-transfer",
    class_specific: bool = False,
) -> Path:
    """An evaluated run on the masks of some of six categories; ``masks`` are 10 times the id if not given."""
    split = f"random-{len(trained)}-1"
    config = TransferConfig(embedding=embedding, split=split, class_specific=class_specific).to_mapping()
    run = open_run(folder, stage=stage, identity={}, config=config, inputs={}, command="")
    run.update(
        transfer=config,
        seen=trained,
        masks={str(n): 10 * n for n in trained} if masks is None else masks,
        categories=[{"id": n, "name": f"c{n}"} for n in CATEGORIES],
    )
    path = folder / "evaluation" / "cache-best" / "ap-all.json"
    path.parent.mkdir(parents=True)
    sets = {"unseen": {"mask": {"AP": unseen, "AP50": None}}, "seen": {"mask": {"AP": 30.0, "AP50": None}}}
    path.write_text(json.dumps({"sets": sets, "categories": [{"id": n, "mask_ap": 1.0} for n in CATEGORIES]}))
    return folder


def a_pair(folder: Path, trained: list[int], baseline: float | None, transfer: float | None) -> list[Path]:
    name = "".join(map(str, trained))
    return [
        a_run(folder / f"agnostic@{name}", trained=trained, unseen=baseline, embedding="none"),
        a_run(folder / f"cls@{name}", trained=trained, unseen=transfer),
    ]


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """Three splits, the larger set first; +50 % on four categories, +20 % and -10 % on two."""
    larger = a_pair(tmp_path, [1, 2, 3, 6], 10.0, 15.0)
    return [*larger, *a_pair(tmp_path, [1, 2], 10.0, 12.0), *a_pair(tmp_path, [3, 5], 20.0, 18.0)]


def test_each_split_is_a_point_of_what_its_runs_recorded(study: list[Path]) -> None:
    """The change is relative to the baseline of the same categories; masks are the mean of the seen ones."""
    found = read_splits(study[::-1])  # in any order
    points = {(point.seen, point.masks): point.change for point in found.points}
    assert points == {(2, 40.0): pytest.approx(-10), (2, 15.0): pytest.approx(20), (4, 30.0): pytest.approx(50)}
    assert found.means() == {2: pytest.approx(5), 4: pytest.approx(50)}
    assert [point.seen for point in found.points] == [2, 2, 4]


def test_the_table_holds_the_points_and_the_mean_of_each_size(study: list[Path]) -> None:
    """The same numbers for a terminal and a program; the deviation needs more than one split."""
    found = read_splits(study)
    assert found.to_text() == (
        "split       model     seen  masks/category  baseline AP  transfer AP  change %\n"
        "random-2-1  cls@12       2              15         10.0         12.0     +20.0\n"
        "random-2-1  cls@35       2              40         20.0         18.0     -10.0\n"
        "random-4-1  cls@1236     4              30         10.0         15.0     +50.0\n"
        "\n"
        "seen  splits  mean change %   std\n"
        "   2       2           +5.0  21.2\n"
        "   4       1          +50.0     -"
    )
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["points"][0]["masks per category"] == 15.0
    assert plain["means"][1] == {"seen": 4, "splits": 1, "change": pytest.approx(50)}


@pytest.mark.parametrize("baseline", [0.0, None])
def test_without_an_ap_to_be_relative_to_there_is_no_change(
    study: list[Path], tmp_path: Path, baseline: float | None
) -> None:
    """Such a split is listed with a dash."""
    empty = a_pair(tmp_path, [1, 2, 3], baseline, 5.0)
    found = read_splits([*study, *empty])
    assert [point.change for point in found.points if point.seen == 3] == [None]
    assert 3 not in found.means()
    assert found.to_text().splitlines()[3].split()[-1] == "-"


def test_a_run_without_its_partner_is_refused(study: list[Path], tmp_path: Path) -> None:
    """A baseline of other categories, or of the other kind of training, is none."""
    with pytest.raises(RunError, match=r"(?s)cls@1236 has no baseline .*--embedding none --split random-4-1`"):
        read_splits([study[1], *study[2:]])
    with pytest.raises(RunError, match="agnostic@12 is a baseline, and no model with T"):
        read_splits([*study[:3], *study[4:]])
    joint = a_run(tmp_path / "e2e", trained=[1, 2], unseen=1.0, stage="e2e")
    with pytest.raises(RunError, match="e2e has no baseline"):
        read_splits([*study, joint])


def test_two_runs_in_one_place_are_refused(study: list[Path], tmp_path: Path) -> None:
    """Nothing is averaged or left out unseen."""
    twice = a_run(tmp_path / "again", trained=[1, 2], unseen=1.0, embedding="cls+box")
    with pytest.raises(RunError, match=r"again and .*cls@12 are both the transfer"):
        read_splits([*study, twice])


@pytest.mark.parametrize(
    "settings",
    [
        {"trained": list(CATEGORIES)},
        {"trained": [1, 2], "embedding": "none", "class_specific": True},
        {"trained": [], "stage": "evaluate-teacher"},
    ],
)
def test_runs_of_another_kind_are_refused(study: list[Path], tmp_path: Path, settings: dict[str, object]) -> None:
    """Trained on all masks, class-specific, or GrabCut."""
    other = a_run(tmp_path / "other", unseen=1.0, **settings)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="other is neither"):
        read_splits([*study, other])


def test_runs_that_lack_what_is_drawn_are_refused(study: list[Path], tmp_path: Path) -> None:
    """Not evaluated, or fitted before the masks were recorded."""
    old = a_run(tmp_path / "old", trained=[4], unseen=1.0, masks={})
    with pytest.raises(RunError, match="old did not record how many masks"):
        read_splits([*study, old, a_run(tmp_path / "base", trained=[4], unseen=1.0, embedding="none")])
    for folder in study[:2]:
        next(folder.glob("evaluation/*/ap-all.json")).unlink()
    with pytest.raises(RunError, match=r"2 runs have not been evaluated: .*agnostic@1236, .*cls@1236\."):
        read_splits(study)


@pytest.mark.parametrize(("ending", "begins"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_the_same_runs_give_the_same_file(study: list[Path], tmp_path: Path, ending: str, begins: bytes) -> None:
    """Byte by byte, in each format."""
    written = []
    for name in ("a", "b"):
        plot_splits(study, tmp_path / f"{name}{ending}")
        written.append((tmp_path / f"{name}{ending}").read_bytes())
    assert written[0].startswith(begins)
    assert written[0] == written[1]


def test_the_plot_has_a_marker_for_each_split(study: list[Path], tmp_path: Path) -> None:
    """And not for those without a change; a vector file holds no pixels."""
    plot_splits([*study, *a_pair(tmp_path, [1, 2, 3], 0.0, 5.0)], tmp_path / "plot.svg")
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    markers = root.findall(f".//{svg}g[@clip-path]/{svg}use") or root.findall(f".//{svg}use")
    in_axes = [use for use in markers if "stroke: #ffffff" in use.get("style", "")]
    assert len(in_axes) == 3 + 2  # and one of each size in the legend
    assert not root.findall(f".//{svg}image")


@pytest.mark.parametrize("name", ["plot.jpg", "plot"])
def test_an_unknown_ending_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    """With those that are known."""
    with pytest.raises(ConfigError, match=r"\.svg, \.pdf, \.png"):
        plot_splits([tmp_path / "absent"], tmp_path / name)


def test_the_command_prints_the_table_and_keeps_what_exists(
    study: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text or JSON; a second time only with --overwrite."""
    out = tmp_path / "figures" / "plot.svg"
    arguments = ["plot-splits", *map(str, study), "--out", str(out)]
    assert run_maskx(arguments) == 0
    assert capsys.readouterr().out == read_splits(study).to_text() + "\n"
    assert run_maskx(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run_maskx([*arguments, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_splits(study).to_json()


def test_splits_that_are_not_drawn_are_named(
    study: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no others the numbers are printed all the same, and no plot is left of an earlier call."""
    empty = a_pair(tmp_path, [1, 2, 3], 0.0, 5.0)
    out = tmp_path / "plot.svg"
    assert run_maskx(["plot-splits", *map(str, [*study, *empty]), "--out", str(out)]) == 0
    assert "no AP above zero: random-3-1.\n" in capsys.readouterr().err
    assert out.is_file()
    assert run_maskx(["plot-splits", *map(str, empty), "--out", str(out), "--overwrite"]) == 0
    printed, said = capsys.readouterr()
    assert printed.splitlines()[1:] == ["random-3-1  cls@123     3              20          0.0          5.0         -"]
    assert f"{out} is not written: the baseline has no AP above zero" in said
    assert not out.exists()


def test_other_commands_do_not_import_matplotlib() -> None:
    """Only the plot pays for it."""
    code = "import sys; from maskx_pipeline import stages; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
