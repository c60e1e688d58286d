import torch


def test_the_comparison_rejects_an_error_of_one_percent(close):
    x = torch.linspace(-1, 2, 7)
    assert close(x, x + 1e-6)
    assert not close(x, x * 1.01)
    assert not close(x[:3], x)
