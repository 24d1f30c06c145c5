"""Convolutions as products of matrices against e3nn's tensor product, in double precision."""

import pytest
import torch

from tlzoo.nn import equivariant_conv
from tlzoo.nn.equivariant_conv import Arrangement, convolve, paths_of

o3 = pytest.importorskip("e3nn.o3", reason="e3nn comes with tlzoo[sevenn]")

ATOMS, BONDS = 9, 40


def product_of(inputs, harmonics, outputs):
    """All paths with an output each, sorted by degree as networks have them."""
    inputs, harmonics, outputs = o3.Irreps(inputs), o3.Irreps(harmonics), o3.Irreps(outputs)
    paths = [
        (i, j, one.mul, each)
        for i, one in enumerate(inputs)
        for j, two in enumerate(harmonics)
        for each in one.ir * two.ir
        if each in outputs
    ]
    made, place, _ = o3.Irreps([(mul, each) for _, _, mul, each in paths]).sort()
    instructions = [(i, j, place[k], "uvu", True) for k, (i, j, _, _) in enumerate(paths)]
    instructions.sort(key=lambda path: path[2])
    return o3.TensorProduct(
        inputs, harmonics, made, instructions, shared_weights=False, internal_weights=False
    )


@pytest.fixture(params=[512, 8])
def rows(request, monkeypatch):
    """All atoms at once or few; an atom has more bonds than there is room for, too."""
    monkeypatch.setattr(equivariant_conv, "ROWS_ON_CPU", request.param)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def both(product):
    """Outputs and gradients of both; one atom has no bonds, one has many, bonds share weights."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, requires_grad=True)

    target = torch.cat([torch.full((16,), 2), torch.randint(3, ATOMS, (BONDS - 16,), generator=generator)])
    target = target.sort()[0]
    source = torch.randint(0, ATOMS, (BONDS,), generator=generator)
    shared = torch.randint(0, BONDS // 2, (BONDS,), generator=generator)
    x, harmonics = draw(ATOMS, product.irreps_in1.dim), draw(BONDS, product.irreps_in2.dim)
    weights = draw(BONDS // 2, product.weight_numel)
    messages = product(x[source], harmonics, weights[shared])
    theirs = torch.zeros(ATOMS, messages.shape[1]).index_add(0, target, messages)
    found = Arrangement.of(target, ATOMS)
    of_rows = harmonics[found.bond] * found.there[:, None]
    ours = convolve(x, of_rows, weights, source[found.bond], shared[found.bond], found, paths_of(product))
    gradient = torch.randn(theirs.shape, generator=generator)
    pairs = [(ours, theirs)]
    answers = [torch.autograd.grad(each, (x, harmonics, weights), gradient) for each in (ours, theirs)]
    return pairs + list(zip(*answers, strict=True))


@pytest.mark.usefixtures("rows", "double")
@pytest.mark.parametrize(
    ("inputs", "harmonics", "outputs"),
    [
        ("5x0e", "1x0e+1x1e+1x2e", "1x0e+1x1e+1x2e"),
        ("5x0e+3x1e+2x2e+2x3e", "1x0e+1x1e+1x2e+1x3e", "1x0e+1x1e+1x2e+1x3e"),
        ("4x0e+3x1o+2x2e", "1x0e+1x1o+1x2e", "1x0e+1x1o+1x1e+1x2e"),
        ("5x0e+3x1e+2x2e", "1x0e+1x1e+1x2e", "1x0e"),
    ],
)
def test_outputs_and_gradients_are_those_of_e3nn(inputs, harmonics, outputs):
    for ours, theirs in both(product_of(inputs, harmonics, outputs)):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.usefixtures("double")
def test_signs_of_symbols_are_those_that_came_with_the_weights():
    product = product_of("2x1e+2x2e", "1x1e+1x2e", "1x1e+1x2e")
    before = both(product)[0][0]
    for name, symbol in product.named_buffers():
        if name.endswith("_w3j_1_2_2"):
            symbol.neg_()
    ours, theirs = both(product)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    assert (ours - before).abs().max() > 0.1


def test_no_bonds_no_messages():
    product = product_of("3x0e", "1x0e+1x1e", "1x0e+1x1e")
    none = torch.empty(0, dtype=torch.int64)
    found = Arrangement.of(none, 2)
    out = convolve(
        torch.ones(2, 3), torch.empty(0, 4), torch.empty(0, 6), none, none, found, paths_of(product)
    )
    assert torch.equal(out, torch.zeros(2, 12))


def test_another_product_is_refused():
    product = o3.FullyConnectedTensorProduct("2x0e", "1x0e", "2x0e")
    with pytest.raises(ValueError, match="each channel of each path"):
        paths_of(product)
