"""Linear models trained to the minimum of a convex loss by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zslkit.errors import TrainingError

STEPS = 200
"""Most L-BFGS steps; the remaining gradient is logged and small, since the loss is convex."""
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-11}
"""Largest entry of the gradient at which the search stops, by dtype."""


def minimise(
    x: Tensor,
    outputs: int,
    decay: float,
    loss: Callable[[Tensor], Tensor],
    name: str,
    offset: bool = True,
) -> tuple[Tensor, Tensor, float]:
    """Minimise loss(x W + b) + decay / 2 * ||W||^2 over W and b, from zero over all images at once.

    Deterministic.

    Args:
        x: `(N, D)`.
        outputs: K.
        decay: L2 penalty.
        loss: Convex mean over images of the outputs `(N, K)`.
        name: Name of the model, for errors.
        offset: Whether b is trained.

    Returns:
        W `(D, K)`, b `(K,)` and the largest entry of the last gradient.

    Raises:
        TrainingError: The loss is not finite.
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
