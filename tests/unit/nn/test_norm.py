import jaxtyping
import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.nn.norm import BatchNorm, norm_layer
from tlzoo.nn.rows import Rows

COUNT = torch.tensor([1.0, 3.0, 2.0, 1.0, 5.0])


def pair(dtype, *, training=True):
    torch.manual_seed(0)
    plain, ours = torch.nn.BatchNorm1d(4), BatchNorm(4)
    torch.nn.init.normal_(plain.weight)
    torch.nn.init.normal_(plain.bias)
    plain.running_mean.normal_()
    plain.running_var.uniform_(0.5, 2)
    ours.load_state_dict(plain.state_dict())
    return plain.to(dtype).train(training), ours.to(dtype).train(training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_batch_normalisation_of_the_repeated_rows(dtype, training):
    plain, ours = pair(dtype, training=training)
    x = torch.randn(5, 4, dtype=dtype, requires_grad=True)
    again = torch.repeat_interleave(torch.arange(5), COUNT.long())
    weights = torch.randn(5, 4, dtype=dtype)
    for _ in range(2):
        got = ours(x, Rows.of(COUNT.to(dtype)))
        wanted = plain(x[again])
    torch.testing.assert_close(got[again], wanted)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(plain.named_buffers()))
    torch.testing.assert_close(
        torch.autograd.grad((got * weights * COUNT[:, None]).sum(), [x, *ours.parameters()]),
        torch.autograd.grad((wanted * weights[again]).sum(), [x, *plain.parameters()]),
        rtol=1e-4 if dtype == torch.float32 else 1e-9,
        atol=1e-5 if dtype == torch.float32 else 1e-9,
    )


def test_a_channel_that_hardly_varies_keeps_its_digits():
    plain, ours = pair(torch.float32)
    x = 100 + 0.1 * torch.randn(5, 4)
    torch.testing.assert_close(ours(x, Rows.of(torch.ones(5))), plain(x), rtol=1e-2, atol=1e-2)


def test_one_row_alone_gives_finite_statistics():
    ours = BatchNorm(4)
    assert ours(torch.randn(1, 4), Rows.of(torch.ones(1))).isfinite().all()
    assert ours.running_var.isfinite().all()


def test_statistics_are_in_fp32_under_autocast():
    ours = BatchNorm(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours(torch.randn(5, 4).bfloat16(), Rows.of(COUNT)).dtype == torch.float32


def test_unknown_names_are_refused(monkeypatch):
    # outside the tests nothing but the code itself checks arguments
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=r"norm must be 'batch' or 'layer', got 'group'"):
        norm_layer("group", 4)


def test_without_momentum_all_batches_count_alike():
    """As where weights are averaged, and statistics are taken anew with the mean of them."""
    plain, ours = pair(torch.float64)
    others = BatchNorm(4).double()
    for norm in (plain, ours, others):
        norm.reset_running_stats()
        norm.momentum = None
    rows = Rows.of(torch.ones(5, dtype=torch.float64))
    for _ in range(3):
        x = torch.randn(5, 4, dtype=torch.float64)
        plain(x), ours(x, rows)
        BatchNorm.take_in([others], [x.mean(0), x.var(0)], None)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(plain.named_buffers()))
    torch.testing.assert_close(dict(others.named_buffers()), dict(plain.named_buffers()))
