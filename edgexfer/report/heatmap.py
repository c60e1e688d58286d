"""The confusion matrix of many classes as a picture; of few classes the page makes a table of it."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edgexfer.report import svg


def draw_heatmap(name: str, matrix: NDArray[np.int64], description: str) -> Markup:
    """Rows are true classes, columns answers; a cell's depth is its share of its row, mistakes in another colour."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    pixels = np.zeros((*matrix.shape, 4))
    pixels[right] = (0.18, 0.44, 0.86, 0)
    pixels[~right] = (0.85, 0.33, 0.15, 0)
    pixels[..., 3] = np.where(right, shares, np.sqrt(shares))
    with svg.figure(400, 400) as (drawing, axes):
        axes.grid(False)
        axes.imshow(pixels, interpolation="nearest", extent=(0.5, len(matrix) + 0.5, len(matrix) + 0.5, 0.5))
        axes.set_xlabel("answer (number of the class)")
        axes.set_ylabel("truth")
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(True)
            axes.spines[side].set_color(svg.GRID)
        return svg.inline(drawing, name, description)
