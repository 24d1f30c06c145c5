"""What is compiled computes what torch does."""

import pytest
import torch

from tlzoo.backbones import CGCNN
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.nn import compiled_conv as compiled
from tlzoo.nn import passes
from tlzoo.testing.small_crystals import four


@pytest.mark.skipif(compiled.library() is None, reason="there is no C compiler")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_compiled_and_plain_layers_agree(monkeypatch, threads):
    monkeypatch.setattr(passes, "FEWEST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    crystals = four()
    batch = GraphStore.in_memory(crystals, GraphOptions()).batch(range(len(crystals)))
    found = []
    for way in (True, True, False):
        monkeypatch.setattr(compiled, "applies", lambda _, way=way: way)
        torch.manual_seed(0)
        network = CGCNN(dim=10, depth=2)
        out = network(batch)
        out.square().sum().backward()
        # a bias before batch normalisation has no derivative but rounding
        learning = [p.grad for name, p in network.named_parameters() if not name.endswith("edge.bias")]
        found.append([out, *learning, *network.buffers()])
    for ours, again, wanted in zip(*found, strict=True):
        assert torch.equal(ours, again)
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.skipif(compiled.library() is None, reason="there is no C compiler")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_none_in_either(monkeypatch, value):
    """A number that is lost would hide from a training that it has diverged."""
    crystals = four()
    batch = GraphStore.in_memory(crystals, GraphOptions()).batch(range(len(crystals)))
    for name, parameter in CGCNN(dim=4, depth=1).named_parameters():
        for place in (0, parameter.numel() - 1):  # of the gate, and of what it lets through
            found = []
            for way in (True, False):
                monkeypatch.setattr(compiled, "applies", lambda _, way=way: way)
                torch.manual_seed(0)
                network = CGCNN(dim=4, depth=1)
                with torch.no_grad():
                    network.get_parameter(name).view(-1)[place] = value
                found.append(bool(network(batch).isfinite().all()))
            assert found[0] == found[1], (name, place)
