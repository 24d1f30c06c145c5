"""Our backbones keep what every backbone promises. A new one is one line."""

from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP, MomentNet, Roost
from tlzoo.testing import BackboneContract

SMALL = {"dim": 8, "alignn_layers": 2, "gcn_layers": 2}


class TestBackbones(BackboneContract):
    backbones = {  # noqa: RUF012 (declared in the contract)
        "cgcnn": lambda: CGCNN(dim=8, depth=2),
        "cgcnn-layer": lambda: CGCNN(dim=8, depth=2, norm="layer"),
        "cgcnn-sum": lambda: CGCNN(dim=8, depth=1, pooling="sum"),
        "cgcnn-max": lambda: CGCNN(dim=8, depth=1, pooling="max"),
        "cgcnn-attention": lambda: CGCNN(dim=8, depth=2, pooling="attention"),
        "cgcnn-learned": lambda: CGCNN(dim=8, depth=1, features="learned"),
        "alignn": lambda: ALIGNN(**SMALL),
        "alignn-layer": lambda: ALIGNN(**SMALL, norm="layer"),
        "alignn-max": lambda: ALIGNN(**SMALL, pooling="max"),
        "alignn-attention": lambda: ALIGNN(**SMALL, pooling="attention"),
        "alignn-learned": lambda: ALIGNN(**SMALL, features="learned"),
        "alignn-no-angles": lambda: ALIGNN(dim=8, alignn_layers=0, gcn_layers=1),
        "momentnet": lambda: MomentNet(dim=8, depth=2),
        "momentnet-pairs-of-bonds": lambda: MomentNet(dim=8, depth=2, degree=1),
        "momentnet-layer": lambda: MomentNet(dim=8, depth=2, degree=3, norm="layer"),
        "momentnet-sum": lambda: MomentNet(dim=8, depth=1, pooling="sum"),
        "momentnet-max": lambda: MomentNet(dim=8, depth=1, pooling="max"),
        "momentnet-attention": lambda: MomentNet(dim=8, depth=2, pooling="attention"),
        "momentnet-learned": lambda: MomentNet(dim=8, depth=1, features="learned"),
        "descriptors": lambda: DescriptorMLP(dim=8, depth=2),
        "descriptors-layer": lambda: DescriptorMLP(dim=8, depth=2, norm="layer"),
        "descriptors-composition": lambda: DescriptorMLP(dim=8, depth=1, structure=False),
        "roost": lambda: Roost(dim=8, depth=2, heads=2, hidden=8),
        "roost-learned": lambda: Roost(dim=8, depth=1, heads=1, hidden=8, features="learned"),
        "descriptors-structure": lambda: DescriptorMLP(dim=8, depth=1, composition=False),
    }
