"""Networks whose speed is measured, and of which nothing else is: taught for two epochs, then fed any size.

Speed does not ask for more, but int8 of a network with random statistics is chaos that an export refuses.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from edgexfer import nets
from edgexfer.runs import Run, is_run, read_run, write_run
from edgexfer.training import Recipe, Silent
from edgexfer.workflows.data import DataChoice
from edgexfer.workflows.train import Start, Target, finetune_data

SIZE, EPOCHS = 64, 2
ANY_LOSS = 100.0
"""For ``max_drop``: what so short a training loses in accuracy says nothing."""


def run_at(network: str, size: int, trained: Path, folder: Path) -> Run:
    """The network, trained on the embedded digits, as a run that is fed pictures of ``size``.

    Args:
        network: Its name.
        size: Side of the square input, in pixels.
        trained: The run that was trained at ``SIZE``, made where it is missing; it serves for all sizes.
        folder: Where the run goes; what is there already is not made again.
    """
    if not is_run(trained):
        recipe = Recipe(image_size=SIZE, epochs=EPOCHS, device="cpu")
        finetune_data(DataChoice("digits"), Start(network), recipe, Target(trained, force=True), Silent())
    if not is_run(folder):
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        write_run(folder, replace(read_run(trained), preprocessing=nets.preprocessing_for(network, size)))
    return read_run(folder)
