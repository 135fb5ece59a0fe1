"""Image files under the names that an annotation file gives them."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.data.image_files import ImageFiles


def test_a_name_without_a_folder_is_found_in_a_subfolder_if_only_one_has_it(tmp_path: Path) -> None:
    """Labelling tools drop the folder; which of two is meant, nobody can know."""
    for name in ("top.png", "cam1/a.png", "cam2/deep/b.png", "cam1/both.png", "cam2/both.png", "cam2/top.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = ImageFiles(tmp_path)
    assert files.find("a.png") == "cam1/a.png"
    assert files.find("b.png") == "cam2/deep/b.png"
    assert files.find("top.png") == "top.png"
    assert files.find("both.png") is None
    assert files.find("cam2/a.png") is None
    assert files.find("absent.png") is None
