"""The proof finds what is wrong, names it, and is not fooled."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgexfer.errors import FoldError
from edgexfer.fold import Folded, FoldPlan, Kept, algebra, fold_batchnorm, proof, rewrite
from tests.batchnorms import lived_in


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    )


def test_relative_error_literal_values() -> None:
    assert proof.relative_error(torch.tensor([1.0, -4.0]), torch.tensor([1.0, -3.0])) == 0.25
    assert proof.relative_error(torch.zeros(2), torch.zeros(2)) == 0.0
    assert proof.relative_error(torch.zeros(0), torch.zeros(0)) == 0.0


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (torch.zeros(2), torch.ones(2)),
        (torch.ones(2), torch.ones(3)),
        (torch.ones(2), torch.tensor([1.0, math.nan])),
        (torch.tensor([1.0, math.inf]), torch.tensor([1.0, math.inf])),
    ],
)
def test_relative_error_is_infinite_where_nothing_can_be_said(expected: Tensor, found: Tensor) -> None:
    assert proof.relative_error(expected, found) == math.inf


@pytest.mark.parametrize("factor", [1.01, 0.99, 1 + 1e-9])
def test_an_error_in_one_layer_is_found_and_named(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    original = algebra.after

    def wrong(weight: Tensor, bias: Tensor | None, bn: algebra.Affine) -> tuple[Tensor, Tensor]:
        w, b = original(weight, bias, bn)
        return (w * factor, b) if weight.shape[1] == 4 else (w, b)

    monkeypatch.setattr(rewrite.algebra, "after", wrong)
    with pytest.raises(FoldError, match=r"relative error .* end to end, worst at '4' \(.*\), first at '4', allowed"):
        fold_batchnorm(lived_in(network()), torch.randn(2, 3, 8, 8))


def test_a_forgotten_beta_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = algebra.after

    def wrong(weight: Tensor, bias: Tensor | None, bn: algebra.Affine) -> tuple[Tensor, Tensor]:
        return original(weight, bias, algebra.Affine(bn.scale, bn.shift * 0))

    monkeypatch.setattr(rewrite.algebra, "after", wrong)
    with pytest.raises(FoldError, match="first at '1'"):
        fold_batchnorm(lived_in(network()), torch.randn(2, 3, 8, 8))


def test_an_error_outside_the_layers_is_found() -> None:
    with pytest.raises(FoldError, match="in no folded layer"):
        proof.check({"bn": 1e-15}, 1e-3)
    proof.check({}, 1e-15)


def test_few_images_where_activations_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "LAYER_BYTES", 3 * (4 * 6 * 6 + 4 * 4 * 4) * 8)
    found = fold_batchnorm(lived_in(network()), torch.randn(7, 3, 8, 8)).proof
    assert (found.layer_images, found.images) == (3, 7)
    assert [name for name, _ in found.layers] == ["1", "4"]
    assert found.max_rel_error_f64 == max(found.max_rel_error_f64, *(error for _, error in found.layers))


def test_outputs_that_are_not_finite_prove_nothing() -> None:
    with pytest.raises(FoldError, match="not finite on the example"):
        fold_batchnorm(lived_in(network()), torch.full((1, 3, 8, 8), math.inf))


def test_a_network_that_does_not_run_on_the_example() -> None:
    with pytest.raises(FoldError, match="Sequential does not run on the example: .*channels"):
        fold_batchnorm(lived_in(network()), torch.randn(2, 5, 8, 8))


class Uncopyable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.made = self.bn.weight * 2


def test_a_network_that_cannot_be_copied() -> None:
    with pytest.raises(FoldError, match="Uncopyable cannot be copied, and folding never changes the given network"):
        fold_batchnorm(Uncopyable(), torch.randn(2, 3, 8, 8))


class ReadsAttributes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) * self.bn.num_features


def test_a_network_that_asks_its_batchnorm_for_attributes() -> None:
    with pytest.raises(FoldError, match="ReadsAttributes does not run after folding: .*num_features"):
        fold_batchnorm(lived_in(ReadsAttributes()), torch.randn(2, 3, 8, 8))


class OnlyFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x.float()))


def test_a_network_without_float64_is_kept() -> None:
    net = lived_in(OnlyFloat32())
    folded = fold_batchnorm(net, torch.randn(2, 3, 8, 8))
    assert "does not run in float64, so nothing can be proven" in folded.plan.kept[0].reason
    assert all(torch.equal(a, b) for a, b in zip(folded.module.parameters(), net.parameters(), strict=True))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.bn(x) if x.mean() > 0 else x


def test_a_branch_on_the_values_is_refused() -> None:
    (kept,) = fold_batchnorm(lived_in(Branching()), torch.randn(2, 3, 8, 8)).plan.kept
    assert kept.name == "bn" and kept.reason.startswith("Branching.forward cannot be traced: ")


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x + torch.rand_like(x)


def test_random_numbers_are_the_same_on_both_sides_and_left_alone() -> None:
    net, example = lived_in(Noisy()), torch.randn(2, 3, 8, 8)
    state = torch.get_rng_state()
    assert fold_batchnorm(net, example).plan.folded == 1
    assert torch.equal(state, torch.get_rng_state())


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + torch.tensor([1.0])


def test_the_copy_carries_no_traces() -> None:
    net = lived_in(Constant())
    folded: Folded = fold_batchnorm(net, torch.randn(2, 3, 8, 8))
    assert vars(folded.module).keys() == vars(net).keys()
    assert folded.module.state_dict().keys() == {"conv.weight", "conv.bias"}


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.scale = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), 2

    def forward(self, x: Tensor, flag: bool = True) -> dict[str, object]:
        x = self.bn(self.conv(x))
        return {"features": [x, x * self.scale], "classes": x.mean((2, 3)).argmax(1), "name": "x" if flag else None}


def test_outputs_of_any_shape() -> None:
    assert fold_batchnorm(lived_in(Many()), torch.randn(2, 3, 8, 8)).plan.folded == 1


def test_nothing_to_fold() -> None:
    folded = fold_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.randn(1, 3, 8, 8))
    assert (folded.plan, folded.proof.max_rel_error_f64, folded.proof.images) == (FoldPlan(), 0.0, 0)


def test_kept_with_training_mode_has_no_proof() -> None:
    net = lived_in(network()).train()
    folded = fold_batchnorm(net, torch.randn(2, 3, 8, 8))
    assert all(isinstance(kept, Kept) for kept in folded.plan.kept) and folded.proof.layers == ()
