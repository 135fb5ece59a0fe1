"""The recipes in pipelines/: every command they call exists, and the tables run end to end on tiny data."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from maskx_in_process import run_script
from tiny_project import DETECT, maskx, shapes_of, write_settings

from maskx_pipeline.commands import cli

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "pipelines").glob("*.sh"))
DATA_SETS = ("visual_genome", "open_images", "objects365")  # each has a test of its own
RECIPES = [path for path in SCRIPTS if path.stem not in ("common", "quickstart", "slurm", *DATA_SETS)]
FUNCTIONS = {"stage_wise": "fit-transfer", "joint": "e2e"}  # of common.sh: they hand their options on to a command
PAPER = ["--box-loss", "none", "--no-coordinates"]
"""What makes the models of all recipes the paper's; they stand between the category set and a model's own options."""
FIT = ["--iterations", "90000", "--rois-per-batch", "1024", "--lr", "0.02", "--eval-every", "0"]
SCHEDULE = {"fit-transfer": FIT, "e2e": ["--eval-every", "0"]}
"""The authors' schedule, which follows."""
LAST = ["--checkpoint", "last"]

STAND_IN = """#!/usr/bin/env bash
# Instead of maskx: writes down how it was called, and prints a run folder of the models' stages.
echo "$PWD" >>"$CALLS.folders"
printf '%s\\n' "$(printf '%q ' "$@")" >>"$CALLS"
case $1 in fit-transfer | e2e) folder=runs/$(wc -l <"$CALLS" | tr -d ' '); mkdir -p "$folder"; echo "$folder" ;; esac
case "$1 $2" in convert*) echo data/grabcut.json ;; "evaluate --teacher") mkdir -p "$5" ;; esac
[ -z "${MASKX_DATA_TRAIN_ANNOTATIONS:-}" ] || echo "$1 $MASKX_DATA_TRAIN_ANNOTATIONS" >>"$CALLS.annotations"
"""

TORCHRUN = """#!/usr/bin/env bash
# Instead of torchrun --standalone --nproc-per-node N -m maskx_pipeline.
echo "$3 $6" >>"$CALLS.torchrun"
"$MASKX" "${@:6}"
"""

SETTINGS = {
    "detect": DETECT,
    "export-embeddings": {"rois-per-object": 0, "workers": 0},
    "fit-transfer": {
        "head-width": 8, "head-depth": 1, "components": 2, "embedding-dim": 8, "epochs": 0.5, "rois-per-batch": 8,
        "eval-every": 0.0,
    },
    "e2e": {"iterations": 1, "images-per-batch": 2, "eval-every": 0, "workers": 0},
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_bash_and_calls_what_exists(script: Path) -> None:
    """No command, option or choice that maskx does not have."""
    subprocess.run(["bash", "-n", str(script)], check=True)
    calls = [words for words in _calls(script.read_text(encoding="utf-8")) if words != ["$@"]]  # of a function
    assert calls or script.stem == "slurm"
    for words in calls:
        _check_call(words)


def test_a_call_that_does_not_exist_is_found() -> None:
    """The check above is able to fail."""
    for line in ("maskx fit", "maskx detect --out x", "maskx evaluate --no-such 1", "joint voc --embedding clss"):
        for words in _calls(line):
            with pytest.raises(AssertionError):
                _check_call(words)


def test_every_recipe_is_in_the_readme() -> None:
    """pipelines/README.md says what each one is for."""
    text = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in SCRIPTS if path.stem != "common" and f"`{path.name}`" not in text] == []


@pytest.mark.parametrize("script", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_both_directions_and_ends_with_its_table(script: Path, tmp_path: Path) -> None:
    """With a stand-in for maskx: all calls are valid, each model is evaluated, and the table has all of them."""
    calls = _run_with_stand_in(script, tmp_path, GLOVE="glove.txt")
    fitted = [n for n, call in enumerate(calls, 1) if call[0] in FUNCTIONS.values()]
    of_val = ["--only", "val"] if script.stem in ("table2", "figure4") else []
    assert calls.index(["detect", "train"]) < calls.index(["export-embeddings", *of_val]) < fitted[0]
    assert all(calls[n] == ["evaluate", "--model", f"runs/{n}", "--split", "all", *LAST] for n in fitted)
    assert calls[-1][0] == ("plot-splits" if script.stem == "figure3" else "compare")
    assert [word for word in calls[-1] if re.fullmatch(r"runs/\d+", word)] == [f"runs/{n}" for n in fitted]
    for n in fitted:
        command, _, _, *options = calls[n - 1]
        assert options[: len(PAPER) + len(SCHEDULE[command])] == [*PAPER, *SCHEDULE[command]]
    splits = [calls[n - 1][2] for n in fitted]
    if script.stem == "figure3":
        assert splits == [f"random-{n}-{t}" for t in range(1, 6) for n in (20, 30, 40, 50, 60) for _ in range(2)]
    else:
        assert splits.count("voc") == splits.count("nonvoc") > 0
        assert set(splits) <= {"voc", "nonvoc", "all"}
    options = [tuple(calls[n - 1]) for n in fitted]
    assert len(set(options)) == len(options)
    with contextlib.chdir(tmp_path):
        for group, *words in calls:
            command = _command(cli, group)
            if isinstance(command, click.Group):
                group, *words = words
                command = _command(command, group)
            command.make_context(group, words)


@pytest.mark.parametrize("quick", ["QUICK", "shapes"])
def test_quick_models_have_the_projects_schedule(tmp_path: Path, quick: str) -> None:
    """With QUICK=1, and on shapes, whose models the authors' schedule is not for: its passes, and the best weights."""
    environment = {"QUICK": "1"} if quick == "QUICK" else {}
    if quick == "shapes":
        (tmp_path / "data" / "shapes").mkdir(parents=True)
        (tmp_path / "data" / "shapes" / "train.json").write_text("{}")
    calls = _run_with_stand_in(ROOT / "pipelines" / "table1d.sh", tmp_path, **environment)
    assert {call[6] for call in calls if call[0] == "fit-transfer"} == {"--embedding"}
    assert {call[6] for call in calls if call[0] == "e2e"} == {"--init"}
    assert {len(call) for call in calls if call[0] == "evaluate"} == {5}


def test_on_shapes_the_authors_schedule_can_be_asked_for(tmp_path: Path) -> None:
    """QUICK=0 says so."""
    (tmp_path / "data" / "shapes").mkdir(parents=True)
    (tmp_path / "data" / "shapes" / "train.json").write_text("{}")
    calls = _run_with_stand_in(ROOT / "pipelines" / "table1c.sh", tmp_path, QUICK="0")
    assert {tuple(call[6:14]) for call in calls if call[0] == "fit-transfer"} == {tuple(FIT)}


def test_one_direction_leaves_out_what_needs_all_masks(tmp_path: Path) -> None:
    """SPLIT_B empty: data where only half of the categories have masks; and GloVe is left out without its file."""
    calls = _run_with_stand_in(ROOT / "pipelines" / "table1a.sh", tmp_path, SPLIT_A="masked", SPLIT_B="")
    fitted = [call for call in calls if call[0] == "fit-transfer"]
    assert {call[2] for call in fitted} == {"masked"}
    assert [call[call.index("--embedding") + 1] for call in fitted] == ["randn", "cls", "box", "cls+box", "none"]


def test_on_shapes_the_generators_files_are_the_category_sets(tmp_path: Path) -> None:
    """Joint training starts from the detector there, because there are no backbone weights."""
    (tmp_path / "data" / "shapes").mkdir(parents=True)
    (tmp_path / "data" / "shapes" / "train.json").write_text("{}")
    calls = _run_with_stand_in(ROOT / "pipelines" / "table1d.sh", tmp_path)
    joint = [call for call in calls if call[0] == "e2e"]
    assert {call[2] for call in joint} == {"@data/shapes/seen.txt", "@data/shapes/unseen.txt"}
    assert {call[call.index("--init") + 1] for call in joint} == {"runs/detector"}


def test_table_2_has_the_papers_rows_in_its_order(tmp_path: Path) -> None:
    """Class-agnostic, tested with GrabCut, trained on GrabCut's masks of all boxes, MaskX R-CNN, oracle."""
    calls = _run_with_stand_in(ROOT / "pipelines" / "table2.sh", tmp_path)
    joint = [call for call in calls if call[0] == "e2e"]
    assert [(call[2], call[11:]) for call in joint] == [
        ("voc", ["none"]),
        ("all", ["none", "--class-specific", "--name", "trained-on-grabcut"]),
        ("voc", ["cls+box", "--form", "published", "--mask-branch", "fcn+mlp"]),
        ("nonvoc", ["none"]),
        ("nonvoc", ["cls+box", "--form", "published", "--mask-branch", "fcn+mlp"]),
        ("all", ["none", "--class-specific"]),
    ]
    assert {tuple(call[3:11]) for call in joint} == {(*PAPER, *SCHEDULE["e2e"], "--init", "backbone", "--embedding")}
    runs = [f"runs/{n}" for n, call in enumerate(calls, 1) if call[0] == "e2e"]
    assert calls[-1] == ["compare", runs[0], "runs/transfer/grabcut", *runs[1:], "--all-figures"]
    grabcut = next(call for call in calls if call[:2] == ["evaluate", "--teacher"])
    assert grabcut[2:] == ["grabcut", "--out", "runs/transfer/grabcut", "--split", "all", "--seen", "voc"]
    trained_on_it = (tmp_path / "calls.txt.annotations").read_text().splitlines()
    assert trained_on_it == ["e2e data/grabcut.json", "evaluate data/grabcut.json"]


def test_table_2_of_one_direction_leaves_out_the_oracle(tmp_path: Path) -> None:
    """GrabCut needs boxes alone, the oracle masks of all."""
    calls = _run_with_stand_in(ROOT / "pipelines" / "table2.sh", tmp_path, SPLIT_A="masked", SPLIT_B="")
    joint = [call for call in calls if call[0] == "e2e"]
    assert [call[2] for call in joint] == ["masked", "all", "masked"]
    assert "trained-on-grabcut" in joint[1]


def test_figure_4_is_a_picture_of_each_direction(tmp_path: Path) -> None:
    """The baseline above MaskX R-CNN, the models of Table 2, for the images asked for."""
    calls = _run_with_stand_in(ROOT / "pipelines" / "figure4.sh", tmp_path, IMAGES="a.jpg b.jpg")
    table_2 = _run_with_stand_in(ROOT / "pipelines" / "table2.sh", _folder(tmp_path / "table2"))
    joint = {n: call for n, call in enumerate(calls, 1) if call[0] == "e2e"}
    assert all(call in table_2 for call in joint.values())
    first, second, third, fourth = joint
    assert ["cls+box" in call for call in joint.values()] == [False, True, False, True]
    sheets = [call[1:] for call in calls if call[0] == "contact-sheet"]
    for sheet, above, below, split in zip(sheets, (first, third), (second, fourth), ("voc", "nonvoc"), strict=True):
        models = ["--model", f"runs/{above}", "--model", f"runs/{below}", *LAST]
        assert sheet == ["a.jpg", "b.jpg", *models, "--out", f"figure4-{split}.png", "--overwrite"]


def test_on_several_gpus_only_the_stages_that_share_their_work_start_processes(tmp_path: Path) -> None:
    """torchrun is the one beside maskx on the PATH."""
    torchrun = tmp_path / "torchrun"
    torchrun.write_text(TORCHRUN)
    torchrun.chmod(0o755)
    (tmp_path / "maskx").symlink_to(tmp_path / "stand-in")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = ROOT / "pipelines" / "table1d.sh"
    calls = _run_with_stand_in(script, tmp_path, GPUS="8", SPLIT_B="", MASKX="maskx", PATH=path)
    started = (tmp_path / "calls.txt.torchrun").read_text().splitlines()
    assert started == [f"8 {call[0]}" for call in calls if call[0] != "compare"]
    fitted = [n for n, call in enumerate(calls, 1) if call[0] in FUNCTIONS.values()]
    assert calls[-1] == ["compare", *(f"runs/{n}" for n in fitted)]
    own = tmp_path / "own.sh"
    own.write_text(f". {ROOT}/pipelines/common.sh\nmaskx run\nmaskx tune\nmaskx report\n")
    _run_with_stand_in(own, tmp_path, GPUS="8", SPLIT_B="", MASKX="maskx", PATH=path)
    assert (tmp_path / "calls.txt.torchrun").read_text().splitlines()[len(started) :] == ["8 run", "8 tune"]


SLURM = {
    "srun": 'echo "srun $*" >>"$CALLS.slurm"; while [ "$1" != -m ]; do shift; done; "$MASKX" "${@:3}"; ${THEN:-true}',
    "scontrol": 'case $1 in show) printf "%s\\n" node7 node8 ;; *) echo "scontrol $*" >>"$CALLS.slurm" ;; esac',
    "scancel": 'echo "scancel $*" >>"$CALLS.slurm"; touch "$CALLS.cancelled"; exit $ENDING',
}
"""Instead of SLURM's programs: they write down how they were called."""


def _slurm(
    folder: Path, *words: str, then: str = "true", ending: bool = False
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """pipelines/slurm.sh as the job 12345 on two machines, and the calls of SLURM's programs."""
    for name, text in {**SLURM, "maskx": STAND_IN.partition("\n")[2]}.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {
        **_without_settings(), "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CALLS": str(folder / "calls"),
        "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_ID": "12345", "MASKX": "maskx", "THEN": then, "SPLIT_A": "voc", "SPLIT_B": "",
        "ENDING": str(int(ending)),
    }  # fmt: skip
    command = ["bash", str(ROOT / "pipelines" / "slurm.sh"), *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    called = folder / "calls.slurm"
    return done, called.read_text().splitlines() if called.exists() else [done.stderr]


def test_a_job_of_slurm_starts_each_stage_on_all_its_machines(tmp_path: Path) -> None:
    """A command, and a recipe whose other commands run on the first machine alone."""
    started = (
        f"srun --nodes=2 --ntasks=2 --ntasks-per-node=1 {tmp_path}/torchrun --nnodes 2 --nproc-per-node 8"
        " --rdzv-backend c10d --rdzv-endpoint node7:32345 --rdzv-id 12345 -m maskx_pipeline"
    )
    done, called = _slurm(tmp_path, "detect", "train", "--lr", "0.1")
    assert done.returncode == 0, done.stderr
    assert called == [f"{started} detect train --lr 0.1"]
    (project := tmp_path / "project").mkdir()
    (project / "maskx.toml").touch()
    done, called = _slurm(tmp_path, str(ROOT / "pipelines" / "table1d.sh"), str(project))
    assert done.returncode == 0, done.stderr
    assert {line.removeprefix(f"{started} ").split()[0] for line in called[1:]} == {
        "detect", "export-embeddings", "fit-transfer", "e2e", "evaluate",
    }  # fmt: skip
    assert "compare" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("ending", [False, True])
def test_a_job_of_slurm_whose_time_ends_goes_back_into_the_queue(ending: bool, tmp_path: Path) -> None:
    """The processes get SIGTERM, upon which they save; but not where SLURM is ending it, as when it was cancelled."""
    stop = tmp_path / "stop"
    stop.write_text(
        "#!/usr/bin/env bash\nkill -USR1 $(awk '{print $4}' /proc/$PPID/stat)\n"
        'while [ ! -e "$CALLS.cancelled" ]; do sleep 0.1; done\nexit 143\n'
    )
    stop.chmod(0o755)
    done, called = _slurm(tmp_path, "detect", "train", then=str(stop), ending=ending)
    assert called[1:] == ["scancel --signal=TERM 12345", "scontrol requeue 12345"][: 1 if ending else 2]
    assert done.returncode != 0


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    """Before anything is run."""
    done = subprocess.run(["bash", str(RECIPES[0]), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "maskx init" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated data with the masks of all categories, and settings of a model that is trained in a second."""
    folder = tmp_path_factory.mktemp("tiny")
    maskx(folder, "init", *shapes_of(train=8, val=4), "--shapes-masks", "all")
    halves = (folder / "data" / "shapes" / f"{half}.txt" for half in ("seen", "unseen"))
    words = sorted({word for half in halves for word in half.read_text().split()})
    (folder / "glove.txt").write_text("".join(f"{word} {n} {n % 3} 1\n" for n, word in enumerate(words)))
    write_settings(folder, SETTINGS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("table1a", 7), ("table1b", 6), ("table1c", 4), ("table1d", 5), ("table2", 5)]
)
def test_a_table_runs_end_to_end_on_tiny_data(tiny_project: Path, name: str, count: int) -> None:
    """Each prints the paper's lines with both directions measured. They share detector, cache and models."""
    if name == "table2":
        pytest.importorskip("cv2")
    before = {path: path.stat().st_mtime_ns for path in tiny_project.glob("runs/**/best.safetensors")}
    for block in _run_recipe(name, tiny_project, GLOVE="glove.txt").stdout.split("\n\n"):
        above, header, *rows = block.splitlines()
        assert above.split()[:3] == ["seen", "->", "unseen"] or above.split()[:3] == ["seen", "->", "unseen:"]
        assert header.split()[:2] == ["method", "training"]
        assert len(rows) == count
        measured = [row.split()[2:] for row in rows]
        if name == "table2":  # nothing is as large as 96 pixels, so APL is a dash
            measured = [row[:4] + row[6:10] for row in measured]
        assert not any("-" in row for row in measured), "every cell is measured"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "nothing is trained twice"


@pytest.mark.slow
def test_figure_3_ends_with_its_plot(tiny_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or, where there is no change relative to the AP of 0 that models as small as these reach, with its table."""
    table = _run_recipe("figure3", tiny_project, SIZES="4", TRIALS="1").stdout
    assert [row.split()[0] for row in table.splitlines()] == ["split", "random-4-1"]
    assert not (tiny_project / "figure3.svg").exists()
    # Now the true masks are measured.
    val = json.loads((tiny_project / "data" / "shapes" / "val.json").read_text())
    keys = ("image_id", "category_id", "bbox", "segmentation")
    truth = [{"score": 0.5} | {key: entry[key] for key in keys} for entry in val["annotations"]]
    monkeypatch.setattr("maskx_pipeline.stages.evaluate.predictions_from_cache", lambda *_, **__: truth)
    table, means = _run_recipe("figure3", tiny_project, SIZES="3 5", TRIALS="1").stdout.split("\n\n")
    assert [row.split()[0] for row in table.splitlines()[1:]] == ["random-3-1", "random-5-1"]
    assert [row.split()[:3] for row in means.splitlines()[1:]] == [["3", "1", "+0.0"], ["5", "1", "+0.0"]]
    assert (tiny_project / "figure3.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_figure_4_ends_with_its_pictures(tiny_project: Path) -> None:
    """One for each direction, of the images of val."""
    printed = _run_recipe("figure4", tiny_project, MASKX_CONTACT_SHEET_SCORE_THRESHOLD="0").stdout.splitlines()
    assert printed[:2] == ["figure4-seen.png", "figure4-unseen.png"]
    assert all((tiny_project / name).stat().st_size > 10_000 for name in printed[:2])


def _run_recipe(name: str, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A recipe with maskx as it is here."""
    done = run_script(
        ROOT / "pipelines" / f"{name}.sh", str(project), environment={**_without_settings(), **environment}
    )
    assert done.returncode == 0, done.stderr
    return done


def _without_settings() -> dict[str, str]:
    ours = ("SPLIT_A", "SPLIT_B", "GLOVE", "GLOVE_NAMES", "FORM", "INIT", "SIZES", "TRIALS", "IMAGES", "GPUS", "QUICK")
    return {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("MASKX")}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _run_with_stand_in(script: Path, project: Path, **environment: str) -> list[list[str]]:
    """Run a recipe in a project folder; how it called maskx."""
    stand_in = project / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (project / "maskx.toml").touch()
    settings = {"MASKX": str(stand_in), "CALLS": str(project / "calls.txt"), "MASKX_PROJECT": "/elsewhere"}
    subprocess.run(
        ["bash", str(script), str(project)],
        env={**_without_settings(), **settings, **environment},
        check=True,
        capture_output=True,
    )
    assert set((project / "calls.txt.folders").read_text().splitlines()) == {str(project.resolve())}
    return [shlex.split(line) for line in (project / "calls.txt").read_text().splitlines()]


def _calls(script: str) -> Iterator[list[str]]:
    """The words of each call of maskx, up to the next sign of the shell; the functions of common.sh are such calls."""
    script = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)(^|\s)#.*$", "", script))
    for match in re.finditer(r"(?m)(?:^|[\s(])(maskx|in_twos|stage_wise|joint) ([^\n]*)", script):
        lexer = shlex.shlex(match[2], posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        with contextlib.suppress(ValueError):  # a quotation that was begun before the call ends in what follows it
            for word in lexer:
                if set(word) <= set("();<>|&"):
                    break
                words.append(word)
        name = FUNCTIONS.get(match[1])
        yield words if name is None else [name, "--split", *words]


def _check_call(words: list[str]) -> None:
    command: click.Command = cli
    while isinstance(command, click.Group):
        assert words, f"{command.name} needs a command"
        assert words[0] in command.list_commands(click.Context(command)), f"maskx has no command {words[0]}"
        command = _command(command, words[0])
        words = words[1:]
    options = {flag: item for item in command.params for flag in (*item.opts, *item.secondary_opts)}
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("--"):
            assert word in options, f"maskx {command.name} has no option {word}"
            kind = options[word].type
            if isinstance(kind, click.Choice) and "$" not in following:
                assert following in kind.choices, f"{word} {following}"


def _command(group: click.Command, name: str) -> click.Command:
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found
