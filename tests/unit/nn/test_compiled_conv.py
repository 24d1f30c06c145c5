"""What is compiled computes what torch does."""

import pytest
import torch

from tlzoo.backbones import CGCNN
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.nn import compiled_conv as compiled
from tlzoo.testing.small_crystals import four


@pytest.mark.skipif(compiled.library() is None, reason="there is no C compiler")
def test_compiled_and_plain_layers_agree(monkeypatch):
    crystals = four()
    batch = GraphStore.in_memory(crystals, GraphOptions()).batch(range(len(crystals)))
    found = []
    for way in (True, False):
        monkeypatch.setattr(compiled, "applies", lambda _, way=way: way)
        torch.manual_seed(0)
        network = CGCNN(dim=10, depth=2)
        out = network(batch)
        out.square().sum().backward()
        # a bias before batch normalisation has no derivative but rounding
        learning = [p.grad for name, p in network.named_parameters() if not name.endswith("edge.bias")]
        found.append([out, *learning, *network.buffers()])
    for ours, wanted in zip(*found, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-5)
