"""Graph networks that turn crystals into embeddings."""

from tlzoo.backbones.alignn import ALIGNN
from tlzoo.backbones.base import Backbone
from tlzoo.backbones.cgcnn import CGCNN

__all__ = ["ALIGNN", "CGCNN", "Backbone"]
