"""What mkdocs needs beside docs/: pages of the repository that lie elsewhere, and links that hold in both places.

In the repository a link is relative to the file, so that it works where the files are read. Here links to a page of the
site are turned into the site's paths, and links to other files of the repository, such as scripts, into their name.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "index.md": "README.md",
    "recipes.md": "pipelines/README.md",
    "measured.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
_SITE = {source: page for page, source in ELSEWHERE.items()}
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from elsewhere."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **others: Any) -> str:
    """Turn the repository's links into the site's; one that leads nowhere stays, and fails the strict build."""
    here = page.file.src_uri
    source = ELSEWHERE.get(here, f"docs/{here}")

    def site_link(found: re.Match[str]) -> str:
        label, link, anchor = found.group(1), found.group(2), found.group(3) or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        known = _SITE.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(known) is not None:
            return f"[{label}]({os.path.relpath(known, posixpath.dirname(here) or '.')}{anchor})"
        return label if (ROOT / target).exists() else found.group(0)

    return _LINK.sub(site_link, markdown)
