"""Training and prediction, the same lines of torch for tlzoo and for its peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Batch = TypeVar("Batch")


def training(
    loss: Callable[[Batch], Tensor],
    parts: Iterable[nn.Module],
    batches: Iterable[Batch],
    *,
    low: bool = False,
) -> Callable[[], None]:
    """Return an act: for each batch forward, backward and a step of AdamW, fused as `tlzoo fit` has it.

    Args:
        loss: Of a batch.
        parts: Whose parameters are trained.
        batches: A list, or a loader that makes them anew each time.
        low: bf16 autocast.
    """
    parts = list(parts)
    for part in parts:
        part.train()
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=1e-4, fused=True)
    device = next(parts[0].parameters()).device.type

    def act() -> None:
        for batch in batches:
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=low):
                value = loss(batch)
            value.backward()
            optimizer.step()
        finish(device)

    return act


def inference(
    forward: Callable[[Batch], Tensor],
    parts: Iterable[nn.Module],
    batches: Iterable[Batch],
    *,
    low: bool = False,
) -> Callable[[], None]:
    """Return an act: the predictions of each batch."""
    parts = list(parts)
    for part in parts:
        part.eval()
    device = next(parts[0].parameters()).device.type

    def act() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=low):
            for batch in batches:
                forward(batch)
        finish(device)

    return act


def finish(device: str) -> None:
    """Wait for what a GPU still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()


def outputs_and_gradients(
    forward: Callable[[Batch], Tensor], parts: dict[str, nn.Module], batches: Iterable[Batch]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return all predictions, in evaluation mode, and the gradient of half the sum of their squares.

    Args:
        forward: From a batch to predictions.
        parts: Modules by prefix; a gradient is named ``prefix.parameter``.
        batches: Batches.
    """
    for part in parts.values():
        part.eval()
        part.zero_grad()
    outputs = torch.cat([forward(batch).reshape(-1) for batch in batches])
    outputs.square().sum().mul(0.5).backward()
    gradients = {
        f"{prefix}.{name}": parameter.grad
        for prefix, part in parts.items()
        for name, parameter in part.named_parameters()
        if parameter.grad is not None
    }
    return outputs.detach(), gradients


def randomise(model: nn.Module) -> None:
    """Give every weight and every running statistic a value that shows in the output."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
        else:
            nn.init.uniform_(parameter, 0.5, 1.5)
    for name, statistic in model.named_buffers():
        if name.endswith(("mean", "var")):
            nn.init.uniform_(statistic, 0.5, 1.5)


def described(model: nn.Module, gradients: dict[str, Tensor]) -> dict[str, Any]:
    """Return weights and gradients as arrays by name, for a file."""
    weights = {f"weight.model.{name}": value.numpy() for name, value in model.state_dict().items()}
    return weights | {f"gradient.{name}": value.numpy() for name, value in gradients.items()}
