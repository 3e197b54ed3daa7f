"""The margin-aware loss of DEDN; its other losses are in zslkit.functional."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F_


def margin_aware_loss(
    scores: Tensor, label: Tensor, seen: Tensor, m_seen: float, m_true: float
) -> Tensor:
    """Cross entropy over all classes with margins (DEDN.md, losses).

    m_seen is added to every seen class and m_true is subtracted from the true one, so that the true
    class must win by a larger margin over seen classes than over unseen ones.

    Args:
        scores: `(B, C)` unbiased scores.
        label: `(B,)` class ids.
        seen: `(C,)` bool.
        m_seen: Margin of seen classes.
        m_true: Margin of the true class.

    Returns:
        Scalar.
    """
    margin = m_seen * seen.to(scores.dtype) - m_true * F_.one_hot(label, scores.shape[1]).to(
        scores.dtype
    )
    return F_.cross_entropy(scores + margin, label)
