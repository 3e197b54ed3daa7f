"""The margin-aware loss of DEDN. Self-calibration and the distillation distance are shared: zslkit.functional."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F_


def margin_aware_loss(
    scores: Tensor, label: Tensor, seen: Tensor, m_seen: float, m_true: float
) -> Tensor:
    """Cross entropy over all classes in which the true class must win by a margin (DEDN.md, losses).

    scores (B, C), unbiased; label (B,) class ids; seen (C,) bool. m_seen is added to every seen class and m_true taken
    from the true one, so it must win over other seen classes by more than over unseen ones. Returns a scalar.
    """
    margin = m_seen * seen.to(scores.dtype) - m_true * F_.one_hot(label, scores.shape[1]).to(
        scores.dtype
    )
    return F_.cross_entropy(scores + margin, label)
