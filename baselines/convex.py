"""Linear classifiers trained to the minimum of a convex loss: logistic and softmax regression, squared hinge."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zslkit.errors import TrainingError

STEPS = 200
"""L-BFGS steps at most. The loss is convex, so what is left after them is small and is logged."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-11}
"""Largest entry of the gradient of the mean loss at which the search is over, by the type it is computed in."""


def minimise(
    x: Tensor,
    outputs: int,
    decay: float,
    loss: Callable[[Tensor], Tensor],
    name: str,
    offset: bool = True,
) -> tuple[Tensor, Tensor, float]:
    """argmin over W (D, K) and b (K,) of loss(x W + b) + decay / 2 * ||W||^2, by L-BFGS from zero over all images at once.

    x (N, D); outputs K; loss: a mean over images of the outputs (N, K), convex; offset: whether b may leave 0. Gives W, b and the
    largest entry of the last gradient. Nothing in it is random. Raises TrainingError, with the model's name, if the loss is not finite.
    """
    W = torch.zeros(x.shape[1], outputs, dtype=x.dtype, device=x.device, requires_grad=True)
    b = torch.zeros(outputs, dtype=x.dtype, device=x.device, requires_grad=offset)
    search = torch.optim.LBFGS(
        [W, b] if offset else [W],
        max_iter=STEPS,
        history_size=10,
        tolerance_grad=TOLERANCE[x.dtype],
        tolerance_change=1e-9 if x.dtype == torch.float32 else 0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = loss(torch.addmm(b, x, W)) + decay / 2 * W.square().sum()
        if not torch.isfinite(value):
            raise TrainingError(
                f"{name}: the loss is {float(value.detach())}; are the features of a reasonable "
                "size? normalise=l2 makes them so"
            )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
        closure()
    left = max(float(g.abs().max()) for g in (W.grad, b.grad) if g is not None)
    return W.detach(), b.detach(), left
