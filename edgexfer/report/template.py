"""Pages made of templates; the report and the studies share ``parts.html`` (table and figure) and ``page.css``."""

from __future__ import annotations

from importlib import resources
from typing import Any

from markupsafe import Markup


def filled(template: str, **content: Any) -> str:
    """A page that needs no other file; everything that is not markup of ours is escaped.

    Args:
        template: Its path below the package: ``report/page.html``.
        **content: What the template lays out; the style is there already.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgexfer", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**content, style=ours("report/page.css"))


def ours(name: str) -> Markup:
    """A text of the package, by its path below it, that no user had a hand in."""
    return Markup(resources.files("edgexfer").joinpath(name).read_text(encoding="utf-8"))
