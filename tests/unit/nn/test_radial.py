import math

import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.nn.radial import Gaussians


def test_gaussians_follow_the_formula():
    basis = Gaussians(low=0.0, high=8.0, size=41, gamma=25.0)
    values = basis(torch.tensor([1.0, 2.13]))
    assert values.shape == (2, 41)
    for row, distance in enumerate((1.0, 2.13)):
        for k in range(41):
            assert float(values[row, k]) == pytest.approx(
                math.exp(-(((distance - 0.2 * k) / 0.2) ** 2)), abs=1e-5
            )


def test_gaussians_stay_fp32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Gaussians(low=0.0, high=8.0, size=4, gamma=1.0)(torch.rand(3)).dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"size": 1}, {"high": 0.0}, {"gamma": 0.0}])
def test_gaussians_refuse_nonsense(wrong):
    with pytest.raises(UserError, match="Gaussians need high > low, size > 1 and gamma > 0"):
        Gaussians(**{"low": 0.0, "high": 8.0, "size": 4, "gamma": 1.0, **wrong})


def test_squares_of_gradients_are_not_subnormal():
    basis, linear = Gaussians(low=0.0, high=8.0, size=41, gamma=25.0), torch.nn.Linear(41, 1)
    values = basis(torch.linspace(0.0, 8.0, 1000))
    (linear(values).sum() * 1e-9).backward()
    for found in (values, linear.weight.grad.square()):
        assert not ((found > 0) & (found < torch.finfo(torch.float32).tiny)).any()
    assert values[values > 0].min() < torch.finfo(torch.float32).eps


def test_gaussians_have_derivatives_near_and_far():
    x = torch.tensor([0.0, 2.13, 30.0], dtype=torch.float64, requires_grad=True)
    basis = Gaussians(low=0.0, high=8.0, size=9, gamma=1.0).double()
    assert torch.autograd.gradcheck(basis, (x,))
    assert (basis(x)[2] == 0).all()
