"""Functions in C against the same formulas in torch, and both against autograd."""

import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from tlzoo.machine.compiled import compiled
from tlzoo.nn import passes
from tlzoo.nn.edge_gated_conv import EdgeGatedConv
from tlzoo.nn.edges import Edges
from tlzoo.nn.equal_rows import Equal
from tlzoo.nn.norm import activated, norm_layer
from tlzoo.nn.rows import Rows

NODES, EDGES = 40, 300


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def several_crystals(growth=1):
    """Edges that are within one of ten groups of nodes, the first of which have more."""
    index = torch.randint(4, (2, EDGES), generator=torch.Generator().manual_seed(1))
    index += 4 * (10 * (torch.arange(EDGES) / EDGES) ** growth).long()
    index = index[:, index[1].argsort(stable=True)]
    return Edges.of(index, torch.ones(EDGES), torch.ones(NODES))


def graph(dtype=torch.float32, *, edges=EDGES):
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(NODES - 1, (2, edges), generator=generator)  # the last node has no edge
    index[1] = index[1].sort().values
    count = torch.randint(1, 4, (edges,), generator=generator).to(dtype)
    return Edges.of(index, count, torch.ones(NODES, dtype=dtype))


@pytest.fixture
def with_and_without(monkeypatch):
    """Compute something by functions in C, and by torch."""
    if compiled(passes.SOURCE) is None:
        pytest.skip("there is no compiler here")

    def both(compute):
        mine = compute()
        with monkeypatch.context() as changed:
            changed.setattr(passes, "compiled", lambda *_: None)
            return mine, compute()

    return both


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dim", [1, 8, 64, 300])
def test_what_is_compiled_is_what_torch_computes(with_and_without, monkeypatch, dim, threads):
    monkeypatch.setattr(passes, "FEWEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    edges, ends, dtotal = graph(), random(NODES, 4 * dim, seed=2), random(NODES, dim, seed=3)
    x, dy, share = random(EDGES, dim, seed=4), random(EDGES, dim, seed=5), edges.rows.share
    vectors = [random(dim, seed=6 + i) for i in range(4)]

    def compute():
        m = x.clone()
        total, message, gates = passes.gated(m, ends, edges)
        found = [m, total, message, gates]
        for dm in (None, dy):
            found += passes.gated_derivative(m, ends, message, gates, edges, dtotal, dm)
        found += passes.moments(x, share)
        for silu in (False, True):
            found += [passes.affine(x, more, *vectors[:2], silu=silu) for more in (None, dy)]
            found += passes.affine_sums(x, dy, *vectors[:3], silu=silu)
            found.append(passes.affine_derivative(x, dy, *vectors[:2], share, *vectors[2:], silu=silu))
        for more in (None, dy):
            found.append(passes.normalised(x, more, *vectors[:2], eps=1e-5))
        found += passes.normalised_derivative(x, dy, *vectors[:2], eps=1e-5)
        some = torch.arange(EDGES) // 2
        return [*found, passes.affine(x, dy, *vectors[:2], silu=True, index=some)]

    torch.testing.assert_close(*with_and_without(compute), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("updates", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("norm", "dim"), [("batch", 32), ("batch", 288), ("layer", 64), ("layer", 288)])
def test_a_layer_at_once_is_the_layer_in_parts(
    with_and_without, monkeypatch, norm, dim, shared, updates, threads
):
    """Results, derivatives and running statistics of training, and results of inference."""
    monkeypatch.setattr(passes, "FEWEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    edges, nodes, calls = graph(), Rows.of(torch.arange(1.0, NODES + 1)), []
    equal = Equal.of(torch.arange(EDGES) % 20 / 20, edges.rows) if shared else None
    at_once = EdgeGatedConv._at_once
    monkeypatch.setattr(EdgeGatedConv, "_at_once", lambda *given: calls.append(at_once(*given)) or calls[-1])

    def compute():
        torch.manual_seed(0)
        conv = EdgeGatedConv(dim=dim, norm=norm, update_edges=updates)
        for parameter in conv.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        x, y = (
            random(NODES, dim).requires_grad_(),
            random(20 if shared else EDGES, dim, seed=1).requires_grad_(),
        )
        results = conv(x, y, nodes, edges, equal)[: 1 + updates]
        sum((each * random(*each.shape, seed=2)).sum() for each in results).backward()
        # that of the bias of s is nothing but rounding where a norm takes the mean away
        nothing = {"src_update.bias"} if norm == "batch" else set()
        found = [each.grad for name, each in conv.named_parameters() if name not in nothing]
        found += [*results, x.grad, y.grad, *conv.buffers()]
        with torch.no_grad():
            found += conv.eval()(x, y, nodes, edges, equal)
        return [each.detach() for each in found]

    mine, theirs = with_and_without(compute)
    wide = norm == "layer" and dim > passes._widest()
    assert [each is None for each in calls] == [wide, wide, True, True]
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_a_layer_in_parts_where_it_cannot_be_at_once():
    """Frozen norms among trained ones, and derivatives with known statistics."""
    edges, nodes = graph(), Rows.of(torch.ones(NODES))
    conv = EdgeGatedConv(dim=32)
    x, y = random(NODES, 32), random(EDGES, 32, seed=1)
    conv.bn_edges.eval()
    assert conv._at_once(x, y, nodes, edges, None) is None
    assert conv.eval()._at_once(x, y, nodes, edges, None) is None
    before = [each.clone() for each in conv.buffers()]
    sum(each.sum() for each in conv(x, y, nodes, edges)).backward()
    assert conv.edge_gate.weight.grad.abs().max() > 0
    assert all(map(torch.equal, before, conv.buffers()))


def test_gates_far_from_zero_and_what_is_no_number(with_and_without):
    edges = Edges.of(torch.zeros(2, 7, dtype=torch.int64), torch.ones(7), torch.ones(1))
    values = torch.tensor([-1000.0, -88.0, -20.0, 0.0, 20.0, 1000.0, float("nan")])[:, None]

    def compute():
        _, message, gates = passes.gated(values.clone(), torch.ones(1, 4), edges)
        return [message, gates, passes.affine(values, None, torch.ones(1), torch.zeros(1), silu=True)]

    torch.testing.assert_close(*with_and_without(compute), equal_nan=True)


def test_a_mean_far_from_zero_keeps_the_digits_of_the_variance(with_and_without):
    x, share = 100 + 0.01 * random(EDGES, 3), graph().rows.share
    mine, theirs = with_and_without(lambda: passes.moments(x, share))
    exact = share.double() @ (x.double() - share.double() @ x.double()).square()
    torch.testing.assert_close(mine[1].double(), exact, rtol=1e-3, atol=0)
    torch.testing.assert_close(theirs[1].double(), exact, rtol=1e-2, atol=0)


def derivatives(edges, dim=32):
    """Of a whole layer, by two threads or more."""
    torch.manual_seed(0)
    conv = EdgeGatedConv(dim=dim)
    x, y = random(NODES, dim).requires_grad_(), random(EDGES, dim, seed=1).requires_grad_()
    nodes = Rows.of(torch.ones(NODES))
    results = conv(x, y, nodes, edges)
    loss = sum(each.square().sum() for each in results)
    return [*(each.detach() for each in results), *torch.autograd.grad(loss, [x, y, *conv.parameters()])]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "edges", [graph(), several_crystals(), several_crystals(growth=2)], ids=["one crystal", "ten", "unequal"]
)
def test_threads_find_the_same_each_time(with_and_without, monkeypatch, edges, threads):
    monkeypatch.setattr(passes, "FEWEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert edges.shares(threads)[1] == (threads == 1 or len(edges.borders) > 9)
    first, theirs = with_and_without(lambda: derivatives(edges))
    assert all(map(torch.equal, first, derivatives(edges)))
    torch.testing.assert_close(first, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_finds_the_same():
    """The threads stay behind: who waits for them waits for ever, as torch does in larger operations."""
    program = """
import os, torch
from tests.unit.nn import test_passes as tests
from tlzoo.nn import passes
passes.FEWEST = 1
torch.set_num_threads(2)
before = tests.derivatives(tests.several_crystals())
child = os.fork()
if not child:
    os._exit(not all(map(torch.equal, before, tests.derivatives(tests.several_crystals()))))
assert os.waitpid(child, 0)[1] == 0
assert all(map(torch.equal, before, tests.derivatives(tests.several_crystals())))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_derivatives_of_a_layer_are_right(norm):
    torch.manual_seed(0)
    conv = EdgeGatedConv(dim=3, norm=norm).double()
    edges = graph(torch.float64, edges=6)
    x, values = random(NODES, 3).double().requires_grad_(), torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0, 2.0])
    equal = Equal.of(values.double(), edges.rows)
    y = random(3, 3, seed=1).double().requires_grad_()

    def compute(x, y, *_):
        for buffer in conv.buffers():
            buffer.zero_()
        return conv(x, y, Rows.of(torch.ones(NODES).double()), edges, equal)

    assert torch.autograd.gradcheck(compute, (x, y, *conv.parameters()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_activated_is_a_norm_an_activation_and_a_sum(norm, training):
    layer = norm_layer(norm, 4).double().train(training)
    torch.nn.init.normal_(layer.weight)
    x, residual = (random(9, 4, seed=i).double().requires_grad_() for i in (1, 2))
    rows = Rows.of(torch.arange(1.0, 10.0).double())
    results = [activated(x, layer, rows, residual), residual + F.silu(layer(x, rows))]
    torch.testing.assert_close(*results)
    wanted = [x, residual, layer.weight, layer.bias]
    torch.testing.assert_close(
        *(torch.autograd.grad((r * random(9, 4, seed=3)).sum(), wanted) for r in results)
    )
    with torch.no_grad():
        torch.testing.assert_close(activated(x, layer, rows, residual), results[1])


def test_equal_numbers_are_found():
    numbers = torch.tensor([0.5, -1.0, 0.5, 0.25, -1.0, 0.5])
    equal = Equal.of(numbers, Rows.of(torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 4.0])))
    assert torch.equal(equal.expand(equal.values[:, None])[:, 0], numbers)
    assert sorted(zip(equal.values.tolist(), equal.rows.count.tolist(), strict=True)) == [
        (-1.0, 3.0),
        (0.25, 1.0),
        (0.5, 6.0),
    ]


def test_without_a_compiler_torch_does_it(tmp_path):
    code = "from tlzoo.nn import passes; print(passes.compiled(passes.SOURCE))"
    for compiler in ("", "false", str(tmp_path / "none")):
        environment = {"TLZOO_COMPILER": compiler, "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == "None\n"


def test_another_precision_by_default_changes_nothing(with_and_without):
    """Other programs in the process choose it, as interatomic potentials do."""
    conv, edges, x = EdgeGatedConv(dim=64), graph(), random(NODES, 64).requires_grad_()
    y = random(EDGES, 64, seed=1)

    def compute():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            updated, following = conv(x, y, Rows.of(torch.ones(NODES, dtype=torch.float32)), edges)
            wanted = (x, *conv.parameters())
            return torch.autograd.grad(updated.square().sum() + following.square().sum(), wanted)
        finally:
            torch.set_default_dtype(before)

    torch.testing.assert_close(*with_and_without(compute), rtol=1e-4, atol=1e-3)


def test_a_residual_may_be_of_another_precision(with_and_without):
    x, residual, vectors = random(9, 8), random(9, 8, seed=1).bfloat16(), [random(8, seed=i) for i in (2, 3)]
    torch.testing.assert_close(*with_and_without(lambda: passes.affine(x, residual, *vectors, silu=True)))


def test_counts_of_another_precision_are_none_of_those_in_c():
    conv, x, y = EdgeGatedConv(dim=64), random(NODES, 64), random(EDGES, 64, seed=1)
    found = [
        conv(x, y, Rows.of(torch.ones(NODES, dtype=dtype)), graph(dtype))
        for dtype in (torch.float32, torch.float64)
    ]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
