"""Several networks as one give what each gives alone: outputs, derivatives and statistics."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from tlzoo.backbones import ALIGNN, CGCNN, MomentNet
from tlzoo.data import named
from tlzoo.graphs import keys
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.stacked import parts, stacked

KINDS = {
    "cgcnn": lambda **more: CGCNN(dim=4, depth=2, **more),
    "momentnet": lambda **more: MomentNet(dim=4, depth=2, **more),
    "alignn": lambda **more: ALIGNN(dim=4, alignn_layers=1, gcn_layers=1, **more),
}
POOLINGS = ("mean", "max", "max", "attention", "sum")
# The same crystals for all, or others for each, and not as many.
ROWS = {
    "alike": [np.arange(5)] * len(POOLINGS),
    "different": [np.arange(i, i + size) for i, size in enumerate((3, 5, 2, 4, 7))],
}


def read(store, rows):
    return store.batch(rows).apply(lambda values: values.double() if values.is_floating_point() else values)


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize(
    "more", [{}, {"norm": "layer"}, {"features": "learned"}], ids=["batch", "layer", "learned"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_each_does_alone(kind, more, rows):
    torch.manual_seed(0)
    networks = [KINDS[kind](pooling=pooling, **more).double() for pooling in POOLINGS]
    for parameter in (p for network in networks for p in network.parameters()):
        torch.nn.init.normal_(parameter, std=0.5)
    networks[1].eval()  # a frozen one normalises with what it knows
    alone = deepcopy(networks)
    store = GraphStore.in_memory(named.load("semiconductors").select(np.arange(12)), networks[0].graph)
    outputs = [network(read(store, own)) for network, own in zip(alone, rows, strict=True)]
    together = stacked(networks)
    batch = read(store, np.concatenate(rows))
    batch[keys.NETWORKS] = Blocks.of([len(own) for own in rows])
    output = together(batch)
    torch.testing.assert_close(output, torch.cat(outputs), rtol=1e-10, atol=1e-12)

    output.square().sum().backward()
    torch.cat(outputs).square().sum().backward()
    names = {id(p): name for network in networks for name, p in network.named_parameters()}
    for whole, own in parts(together):
        gradients = [dict(n.named_parameters())[names[id(p)]].grad for n, p in zip(alone, own, strict=True)]
        # before a normalisation the derivative of a bias is nothing but rounding
        torch.testing.assert_close(whole.grad, torch.stack(gradients), rtol=1e-7, atol=1e-9)
    for network, other in zip(networks, alone, strict=True):
        for (name, values), wanted in zip(network.named_buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(values, wanted, rtol=1e-10, atol=1e-12, msg=name)


def test_the_networks_own_views_of_its_weights():
    networks = [CGCNN(dim=4, depth=1) for _ in range(3)]
    together = stacked(networks)
    stored = {name: value.clone() for name, value in networks[1].state_dict().items()}
    with torch.no_grad():
        together.convs[0].target.weight[1] += 1
    after = networks[1].state_dict()
    assert {name for name in after if not torch.equal(after[name], stored[name])} == {"convs.0.target.weight"}
    networks[2].load_state_dict(stored)
    assert torch.equal(together.convs[0].target.weight[2], stored["convs.0.target.weight"])
    assert sum(len(own) for _, own in parts(together)) == 3 * len(list(networks[0].parameters()))


def test_what_nobody_can_stack_is_refused():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

    with pytest.raises(TypeError, match="nobody has said how Odd is stacked"):
        stacked([Odd(), Odd()])
