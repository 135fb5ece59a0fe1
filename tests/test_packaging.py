"""The wheel and the sdist: what is in them, and nothing else."""

from __future__ import annotations

import configparser
import email
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="needs the package `build`")

ROOT = Path(__file__).parents[1]
NOT_CODE = (
    "py.typed", "study/report_template/report.html.j2", "study/report_template/report.css",
    "annotate/review_template/review.html.j2", "annotate/review_template/review.css",
    "annotate/review_template/review.js", "page/page.css", "page/page.js",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist, built from a copy: a build leaves files beside the source, and finds old ones there."""
    source, out = tmp_path_factory.mktemp("source") / "maskx", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__"))
    arguments = ["--sdist", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "build", *arguments, str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def _files_of_wheel(built: Path) -> list[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return wheel.namelist()


@pytest.mark.slow
def test_the_wheel_installs_one_module_and_no_other(built: Path) -> None:
    """Neither cli.py nor tests, benchmarks or docs, whose names would clash with those of others."""
    tops = {name.split("/")[0] for name in _files_of_wheel(built)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"maskx_pipeline"}
    assert len(tops) == 2


@pytest.mark.slow
def test_both_hold_all_of_the_package(built: Path) -> None:
    """Each module, the marker that it is typed, and the templates of the report; the sdist what it is built from."""
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "maskx_pipeline").rglob("*.py")}
    wanted = modules | {f"maskx_pipeline/{name}" for name in NOT_CODE}
    assert wanted <= set(_files_of_wheel(built))
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert wanted | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.cfg"} <= names
    assert not any(name.startswith(("tests", "benchmarks")) or "__pycache__" in name for name in names)


@pytest.mark.slow
def test_the_wheel_says_what_it_is(built: Path) -> None:
    """Version, licence with its text, Python, the command, and what it needs."""
    import maskx_pipeline

    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        info = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_string(wheel.read(info).decode())
        commands = configparser.ConfigParser()
        commands.read_string(wheel.read(info.replace("METADATA", "entry_points.txt")).decode())
        assert "Apache License" in wheel.read(info.replace("METADATA", "licenses/LICENSE")).decode()
    assert metadata["Name"] == "maskx-pipeline"
    assert metadata["Version"] == maskx_pipeline.__version__
    assert metadata["License"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert {"grabcut", "sam", "onnx", "docs", "dev"} <= set(metadata.get_all("Provides-Extra", []))
    assert any(need.startswith("torch>=") for need in metadata.get_all("Requires-Dist", []))
    assert commands["console_scripts"]["maskx"] == "maskx_pipeline.commands:main"
