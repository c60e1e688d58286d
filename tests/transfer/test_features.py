"""Features equal the network's own, come from the disk when they can, and never from the wrong place."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgexfer import nets
from edgexfer.data import PixelStore, Splits, View, build_store, eval_pixels
from edgexfer.data.augment import to_floats
from edgexfer.nets import Normalized
from edgexfer.preprocessing import Preprocessing
from edgexfer.training import Silent
from edgexfer.transfer import features
from edgexfer.transfer.features import Extractor, Varied, body_digest
from tests.batchnorms import lived_in

CPU = torch.device("cpu")
NAME = "cifar-resnet20"


def trained_like(rule: Preprocessing) -> Normalized:
    """A network whose BatchNorm layers have statistics as training leaves them."""
    return lived_in(Normalized(nets.create(NAME, 10, input_size=rule.input_size), rule))


class Counting(Silent):
    """Counts the pictures that had to be computed."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.warnings: list[str] = []

    def begin(self, title: str, total: int) -> None:
        self.totals.append(total)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def part_of(view: View, count: int) -> View:
    return replace(view, files=view.files[:count], labels=view.labels[:count], digests=view.digests[:count])


def test_they_are_the_networks_own_and_computed_once(
    digits: Splits, rule: Preprocessing, val_store: PixelStore
) -> None:
    network, heard = trained_like(rule), Counting()
    network.train()
    found = Extractor(network, rule, CPU, with_depths=True)(digits.val, val_store, heard)
    assert network.training and network.net.training
    network.eval()
    pixels = to_floats(eval_pixels(val_store, range(len(digits.val)), rule).numpy())
    with torch.no_grad():
        expected = network.embed(pixels).numpy()
    assert np.abs(found["embedding"] - expected).max() < 1e-5
    assert len(found) > 3 and all(len(values) == len(digits.val) for values in found.values())
    again = Extractor(network, rule, CPU, with_depths=True)(digits.val, val_store, heard)
    assert heard.totals == [len(digits.val), 0]
    assert all(np.array_equal(found[name], again[name]) for name in found)
    plain = Extractor(network, rule, CPU)(digits.val, val_store, heard)  # the embedding alone is there as well
    assert heard.totals[-1] == 0 and set(plain) == {"embedding"}


def test_new_pictures_and_an_interruption_cost_their_own_pass(
    digits: Splits, rule: Preprocessing, val_store: PixelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PART_ROWS", 50)
    network, heard = trained_like(rule), Counting()

    class Stop(Silent):
        def advance(self, done: int, note: str) -> None:
            if done > 120:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Extractor(network, rule, CPU)(digits.val, val_store, Stop())
    Extractor(network, rule, CPU)(part_of(digits.val, 120), val_store, heard)
    Extractor(network, rule, CPU)(digits.val, val_store, heard)
    assert heard.totals == [20, len(digits.val) - 120]


def test_another_network_or_input_never_shares_rows(digits: Splits, rule: Preprocessing, val_store: PixelStore) -> None:
    network, heard = trained_like(rule), Counting()
    first = body_digest(network.net, rule)
    with torch.no_grad():
        network.net.linear.weight.add_(1.0)  # type: ignore[union-attr, operator]
    assert body_digest(network.net, rule) == first  # the head is none of the features' business
    assert body_digest(network.net, replace(rule, mean=(0.5, 0.5, 0.5))) != first
    with torch.no_grad():
        next(network.net.layer1.parameters()).view(-1)[0].add_(1e-3)  # type: ignore[union-attr]
    assert body_digest(network.net, rule) != first
    Extractor(network, rule, CPU)(part_of(digits.val, 10), val_store, heard)
    assert heard.totals == [10]


def test_varied_views_differ_and_repeat(digits: Splits, rule: Preprocessing, val_store: PixelStore) -> None:
    extract = Extractor(trained_like(rule), rule, CPU, cached=False)
    view = part_of(digits.val, 30)
    drawn = [
        extract(view, val_store, Silent(), varied)["embedding"]
        for varied in (None, Varied("light", False, 0, 0), Varied("light", False, 0, 1), Varied("light", False, 0, 0))
    ]
    assert np.array_equal(drawn[1], drawn[3])
    scale = np.abs(drawn[0]).max()
    assert all(np.abs(drawn[a] - drawn[b]).max() > 1e-3 * scale for a, b in ((0, 1), (0, 2), (1, 2)))


def test_damaged_files_are_made_again_and_a_full_disk_costs_nothing_else(
    digits: Splits, rule: Preprocessing, val_store: PixelStore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, heard, view = trained_like(rule), Counting(), part_of(digits.val, 40)
    first = Extractor(network, rule, CPU)(view, val_store, heard)
    (file,) = own_cache.glob("features/*/*.npz")
    file.write_bytes(file.read_bytes()[:-2000])
    again = Extractor(network, rule, CPU)(view, val_store, heard)
    assert heard.totals == [40, 40] and np.array_equal(first["embedding"], again["embedding"])
    file.unlink()

    def full(path: Path) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features, "whole_file", full)
    found = Extractor(network, rule, CPU)(view, val_store, heard)
    assert np.array_equal(first["embedding"], found["embedding"])
    assert "No space left on device" in heard.warnings[0]


def test_the_store_serves_any_subset(digits: Splits, rule: Preprocessing) -> None:
    view = part_of(digits.val, 12)
    network = trained_like(rule)
    whole = Extractor(network, rule, CPU, cached=False)(view, build_store(view, rule), Silent())
    assert whole["embedding"].shape == (12, network.net.embedding_dim)


def test_a_users_own_code_is_part_of_what_makes_a_row(
    digits: Splits, rule: Preprocessing, val_store: PixelStore, tmp_path: Path
) -> None:
    source, heard, view = tmp_path / "net.py", Counting(), part_of(digits.val, 10)
    text = (
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)\n"
        "    def forward(self, x):\n"
        "        return self.last(self.conv(x).relu().mean((2, 3)))\n"
        "def build(num_classes):\n"
        "    return Net(num_classes)\n"
    )
    rows = []
    for code in (text, text.replace("relu", "tanh"), text):
        source.write_text(code)
        name = f"{source}:build"
        network = Normalized(nets.create(name, 10, input_size=rule.input_size), rule)
        rows.append(Extractor(network, rule, CPU, model=name)(view, val_store, heard)["embedding"])
    assert heard.totals == [10, 10, 0]
    assert not np.allclose(rows[0], rows[1]) and np.array_equal(rows[0], rows[2])
