import pytest

from edgexfer.nets.measure import measure, row
from edgexfer.nets.table import TABLE, Facts

SOME = [
    "tiny-darknet",
    "mobilenet-v1-leaky-0.25",
    "mlperf-resnet8",
    "cifar-resnet32x4",
    "cifar-wrn-16-2",
    "cifar-mobilenet-v2-0.5",
    "alexnet",
    "vit_b_16",
    "mnasnet0_5",
    "squeezenet1_0",
]


@pytest.mark.parametrize("name", SOME)
def test_the_table_holds_what_is_measured(name):
    assert measure(name) == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_rows_read_back_as_they_were(name):
    key, colon, value = row(name, TABLE[name]).strip().partition(": ")
    assert (key, colon) == (f'"{name}"', ": ")
    assert eval(value.rstrip(","), {"Facts": Facts}) == TABLE[name]
