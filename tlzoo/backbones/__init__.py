"""Networks that turn crystals into embeddings."""

from tlzoo.backbones.alignn import ALIGNN
from tlzoo.backbones.backbone import Backbone
from tlzoo.backbones.cgcnn import CGCNN
from tlzoo.backbones.chgnet import CHGNet
from tlzoo.backbones.descriptors import DescriptorMLP
from tlzoo.backbones.momentnet import MomentNet
from tlzoo.backbones.potential import Potential
from tlzoo.backbones.roost import Roost
from tlzoo.backbones.sevennet import SevenNet

__all__ = [
    "ALIGNN",
    "CGCNN",
    "Backbone",
    "CHGNet",
    "DescriptorMLP",
    "MomentNet",
    "Potential",
    "Roost",
    "SevenNet",
]
