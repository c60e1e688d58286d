import pytest
import torch
from torch import nn

from edgexfer import nets
from edgexfer.nets.counting import shapes_only, without_memory


def test_counts_two_operations_a_multiply_add_of_convolution_and_linear():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=4),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    first = 2 * 10 * 12 * 8 * 3 * 9
    grouped = 2 * 4 * 5 * 8 * 2 * 9
    assert nets.count_operations(net, (10, 12)) == first + grouped + 2 * 8 * 5


def test_counts_as_torchvision_does():
    net = nets.create("resnet18", 1000)
    assert nets.count_operations(net, (224, 224)) / 2e9 == pytest.approx(1.814, abs=5e-4)


def test_counts_attention():
    net = nets.create("vit_b_32", 1000)
    frozen = [p.requires_grad_(False) for p in net.parameters()]
    assert frozen
    # torchvision's 4.409 billion multiply-adds include the attention's own products
    assert nets.count_operations(net, (224, 224)) / 2e9 == pytest.approx(4.409, rel=5e-3)


def test_leaves_the_network_as_it_was():
    net = nets.create("cifar-resnet20", 10).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    nets.count_operations(net, (32, 32))
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_a_network_that_looks_at_values_is_counted_by_running_it():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, x):
            pooled = x.mean((2, 3))
            return self.linear(pooled) if pooled.sum().item() < 1e9 else pooled

    assert nets.count_operations(Looks(), (8, 8)) == 2 * 3 * 4


def test_shapes_take_no_memory():
    net = shapes_only(nets.create("cifar-resnet20", 10))
    assert all(p.is_meta for p in net.parameters()) and all(b.is_meta for b in net.buffers())
    with without_memory():
        large = nets.build("regnet_y_128gf", 1000, (224, 224))
    assert nets.count_parameters(large) == 644_812_894


def test_counts_a_network_that_changes_its_input_in_place():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert nets.count_operations(net, (4, 5)) == 2 * 4 * 5 * 2 * 3
