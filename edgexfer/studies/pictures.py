"""Small pictures inside a page."""

from __future__ import annotations

import base64
import io

from markupsafe import Markup
from PIL import Image

SIDE = 132


def picture_address(picture: Image.Image) -> str:
    """A picture as a ``data:image/png`` address, at most ``SIDE`` pixels long."""
    shown = picture.convert("RGB")
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def picture_markup(address: str, description: str) -> Markup:
    """The picture as an element, tiny ones with their pixels to be seen."""
    return Markup('<img class="one-picture" src="{}" alt="{}" width="132">').format(address, description)
