"""The recipes in pipelines/: every command they call exists, and the tables run end to end on tiny data."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from maskx_pipeline.commands import cli, run

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "pipelines").glob("*.sh"))
RECIPES = [path for path in SCRIPTS if path.stem not in ("common", "quickstart")]
FUNCTIONS = {"stage_wise": "fit-transfer", "joint": "e2e"}  # of common.sh: they hand their options on to a command

STAND_IN = """#!/usr/bin/env bash
# Instead of maskx: writes down how it was called, and prints a run folder of the models' stages.
echo "$PWD" >>"$CALLS.folders"
printf '%s\\n' "$(printf '%q ' "$@")" >>"$CALLS"
case $1 in fit-transfer | e2e) folder=runs/$(wc -l <"$CALLS" | tr -d ' '); mkdir -p "$folder"; echo "$folder" ;; esac
"""

TINY = """
[detect]
backbone = "resnet18"
backbone-weights = "none"
fpn-channels = 16
box-head-dim = 16
min-size = 64
max-size = 64
anchor-sizes = [4, 8, 16, 32, 64]
rpn-pre-nms = 50
rpn-post-nms = 20
rois-per-image = 16
iterations = 2
images-per-batch = 2
warmup-iterations = 1
steps = [2]
score-threshold = 0.0
detections-per-image = 5
workers = 0

[export-embeddings]
rois-per-object = 0
workers = 0

[fit-transfer]
head-width = 8
head-depth = 1
components = 2
embedding-dim = 8
epochs = 0.5
rois-per-batch = 8
eval-every = 0.0
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_bash_and_calls_what_exists(script: Path) -> None:
    """No command, option or choice that maskx does not have."""
    subprocess.run(["bash", "-n", str(script)], check=True)
    calls = list(_calls(script.read_text(encoding="utf-8")))
    assert calls
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
    assert calls[0] == ["detect", "train"]
    assert calls[1] == ["export-embeddings"]
    fitted = [n for n, call in enumerate(calls, 1) if call[0] in FUNCTIONS.values()]
    assert all(calls[n] == ["evaluate", "--model", f"runs/{n}", "--split", "all"] for n in fitted)
    assert calls[-1] == ["compare", *(f"runs/{n}" for n in fitted)]
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


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    """Before anything is run."""
    done = subprocess.run(["bash", str(RECIPES[0]), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "maskx init" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tables_1a_to_1c_run_end_to_end_on_tiny_data(tmp_path: Path) -> None:
    """Each prints the paper's lines with both directions measured; a model that they share is fitted once."""
    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(io.StringIO()):
        assert run((
            "init", "--shapes", "--shapes-shapes", "2", "--shapes-textures", "2", "--shapes-hues", "2",
            "--shapes-train-count", "8", "--shapes-val-count", "6", "--shapes-image-size", "64",
        )) == 0  # fmt: skip
    data = tmp_path / "data" / "shapes"
    train = json.loads((data / "train.json").read_text())
    masked = {a["category_id"] for a in train["annotations"] if a.get("segmentation")}
    if len(masked) == len(train["categories"]):
        masked = {c["id"] for c in train["categories"][::2]}
    names: dict[bool, list[str]] = {True: [], False: []}
    for category in train["categories"]:
        names[category["id"] in masked].append(category["name"])
    (data / "seen.txt").write_text("\n".join(names[True]))
    (data / "unseen.txt").write_text("\n".join(names[False]))
    words = sorted({word for name in names[True] + names[False] for word in name.split()})
    (tmp_path / "glove.txt").write_text("".join(f"{word} {n} {n % 3} 1\n" for n, word in enumerate(words)))
    # Val has the masks of all categories, which both directions need.
    toml = (tmp_path / "maskx.toml").read_text(encoding="utf-8")
    toml = toml[: toml.index("[detect]")].replace("data/shapes/train", "data/shapes/val") + TINY
    (tmp_path / "maskx.toml").write_text(toml, encoding="utf-8")
    shared = tmp_path / "runs" / "transfer" / "cls+box-published@seen" / "best.safetensors"
    written = set()
    for name, count in (("table1a", 7), ("table1b", 6), ("table1c", 4)):
        text = _run_recipe(name, tmp_path, GLOVE="glove.txt").stdout
        above, header, *rows = text.splitlines()
        assert above.split() == ["seen", "->", "unseen", "unseen", "->", "seen"]
        assert header.split()[:2] == ["method", "training"]
        assert len(rows) == count
        assert not any("-" in row.split()[2:] for row in rows), "every cell is measured"
        written.add(shared.stat().st_mtime_ns)
    assert len(written) == 1
    runs = sorted(str(path.parent) for path in tmp_path.glob("runs/transfer/*/run.json"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run(("compare", *runs, "--format", "csv")) == 0
    assert len(list(csv.reader(printed.getvalue().splitlines()))) == 1 + 7 + 5 + 2


def _run_recipe(name: str, project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A recipe with the maskx of this Python, of this checkout."""
    settings = {"MASKX": str(Path(sys.executable).parent / "maskx"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", str(ROOT / "pipelines" / f"{name}.sh"), str(project)],
        capture_output=True,
        text=True,
        env={**os.environ, **settings, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def _run_with_stand_in(script: Path, project: Path, **environment: str) -> list[list[str]]:
    """Run a recipe in a project folder; how it called maskx."""
    stand_in = project / "stand-in"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    (project / "maskx.toml").touch()
    ours = ("SPLIT_A", "SPLIT_B", "GLOVE", "GLOVE_NAMES", "FORM", "INIT", "SIZES", "TRIALS")
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    settings = {"MASKX": str(stand_in), "CALLS": str(project / "calls.txt"), "MASKX_PROJECT": "/elsewhere"}
    subprocess.run(
        ["bash", str(script), str(project)],
        env={**inherited, **settings, **environment},
        check=True,
        capture_output=True,
    )
    assert set((project / "calls.txt.folders").read_text().splitlines()) == {str(project.resolve())}
    return [shlex.split(line) for line in (project / "calls.txt").read_text().splitlines()]


def _calls(script: str) -> Iterator[list[str]]:
    """The words of each call of maskx, up to the next sign of the shell; the functions of common.sh are such calls."""
    script = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)(^|\s)#.*$", "", script))
    for match in re.finditer(r"(?m)(?:^|[\s(])(maskx|stage_wise|joint) ([^\n]*)", script):
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
