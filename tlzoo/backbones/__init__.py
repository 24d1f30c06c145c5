"""Networks that turn crystals into embeddings."""

from tlzoo.backbones.alignn import ALIGNN
from tlzoo.backbones.backbone import Backbone
from tlzoo.backbones.cgcnn import CGCNN
from tlzoo.backbones.descriptors import DescriptorMLP

__all__ = ["ALIGNN", "CGCNN", "Backbone", "DescriptorMLP"]
