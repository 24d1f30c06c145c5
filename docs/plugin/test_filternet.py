from tlzoo_filternet import FilterNet

from tlzoo.testing import BackboneContract, FreezingContract, PrecisionContract, ResumeContract

SMALL = {"class_path": "FilterNet", "init_args": {"dim": 16, "depth": 2}}


class TestBackbone(BackboneContract):
    backbones = {"two": lambda: FilterNet(dim=8, depth=2)}


class TestFreezing(FreezingContract):
    backbones = {"two": lambda: FilterNet(dim=8, depth=2)}


class TestPrecision(PrecisionContract):
    backbones = {"small": SMALL}


class TestResuming(ResumeContract):
    runs = {"small": {"model.backbone": SMALL}}
