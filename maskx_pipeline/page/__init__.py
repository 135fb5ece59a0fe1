"""Pages for a browser that load nothing from elsewhere, and in which nothing is taken for markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any


def render_page(
    package: str, folder: str, name: str, /, *, filters: Mapping[str, Callable[..., str]] | None = None, **values: Any
) -> str:
    """Fill in a template, with the style and script that all pages share and its own behind these.

    Args:
        package: Where ``folder`` lies, which has ``name.html.j2``, ``name.css`` and ``name.js``. The template puts
            ``style`` and ``script`` in, and allows the script by its ``script_digest``.
        filters: Of the template, by name.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    own = resources.files(package) / folder
    shared = resources.files(__name__)
    style, script = (
        "\n".join(path.read_text(encoding="utf-8") for path in (shared / f"page.{kind}", own / f"{name}.{kind}"))
        for kind in ("css", "js")
    )
    return environment.get_template(f"{name}.html.j2").render(
        style=Markup(style),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        **values,
    )
