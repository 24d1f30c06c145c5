import pytest
import torch

from tlzoo.nn.edges import pointers
from tlzoo.nn.segment import segment_sum

INDEX = torch.tensor([0, 0, 2, 2, 2, 3])  # nothing in segment 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_segment_sum_is_index_add(dtype):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = torch.zeros(4, 4).index_add_(0, INDEX, x.float())
    total = segment_sum(x, INDEX, pointers(INDEX, 4))
    assert total.dtype == dtype
    torch.testing.assert_close(
        total, wanted.to(dtype), rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-6
    )


def test_segment_sum_of_nothing_is_zero():
    empty = torch.empty(0, dtype=torch.int64)
    assert torch.equal(segment_sum(torch.empty(0, 3), empty, pointers(empty, 2)), torch.zeros(2, 3))


def test_derivative_is_right():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    start = pointers(INDEX, 4)
    assert torch.autograd.gradcheck(lambda x: segment_sum(x, INDEX, start), x)


def test_bf16_sums_are_added_in_fp32():
    # added in bf16, 1 + 1 + … stops at 256
    x = torch.ones(1000, 2, dtype=torch.bfloat16)
    index = torch.zeros(1000, dtype=torch.int64)
    total = segment_sum(x, index, pointers(index, 1))
    torch.testing.assert_close(total.float(), torch.full((1, 2), 1000.0))
