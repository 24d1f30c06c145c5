"""Our heads keep what every head promises. A new one is one line."""

from torch import nn

from tlzoo.heads import Classification, Gaussian, MultiProperty, Quantile, Regression
from tlzoo.testing import HeadContract


class TestHeads(HeadContract):
    heads = {  # noqa: RUF012 (as declared)
        "regression": (lambda: Regression(hidden=(8,)), ["y"]),
        "regression-mse-log10": (lambda: Regression(loss="mse", transform="log10", hidden=(8, 4)), ["y"]),
        "regression-huber-none": (lambda: Regression(loss="huber", transform="none"), ["y"]),
        "linear": (lambda: Regression(hidden=()), ["y"]),
        "multi": (
            lambda: MultiProperty(targets=["a", "b"], weights={"b": 2.0}, activation="silu"),
            ["a", "b"],
        ),
        "multi-uncertainty": (lambda: MultiProperty(targets=["a", "b"], weighting="uncertainty"), ["a", "b"]),
        "multi-log10": (lambda: MultiProperty(targets=["a", "b"], transform="log10", hidden=()), ["a", "b"]),
        "binary": (lambda: Classification(hidden=(8,), dropout=0.1), ["y"]),
        "three-classes": (lambda: Classification(classes=3, activation="relu"), ["y"]),
        "gaussian": (lambda: Gaussian(hidden=(8,)), ["y"]),
        "gaussian-log10": (lambda: Gaussian(transform="log10"), ["y"]),
        "quantile": (lambda: Quantile(hidden=(8,)), ["y"]),
        "quantile-log10": (lambda: Quantile(quantiles=(0.25, 0.5), transform="log10"), ["y"]),
    }

    def group_names(self, head):
        noise = ["head.noise"] if getattr(head, "noise", None) is not None else []
        return super().group_names(head) + noise

    def test_outputs_are_linear(self, case):
        assert all(isinstance(m, nn.Linear) for m in case.head.groups()["head.out"])
