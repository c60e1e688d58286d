"""scikit-learn's 1,797 handwritten digits, 8 x 8: real pictures that come with the installation.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI (its test set), CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgexfer.data.arrays import array_pool
from edgexfer.data.assemble import Options, assemble
from edgexfer.data.views import Splits


def digits_splits(options: Options) -> Splits:
    """The digits, stratified into train, val and test; the grey levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels: NDArray[np.uint8] = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    pool = array_pool(pixels, [int(n) for n in digits.target], "digits")
    return assemble("digits", [str(n) for n in range(10)], {"all": pool}, options, mirrors=False)
