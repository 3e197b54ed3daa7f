"""Versions of a split, recognised by a digest: several circulate under the same name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from zslkit.dataset import PARTS, Index

# Computed from att_splits.mat of the datasets in zslkit.datasets.xlsa17. Versions PS and PS 2.0 of
# the proposed splits have the same counts, so it is unknown to which of the two a file belongs.
_PROPOSED = {
    "50d6600787de5e77": "CUB",
    "4297aad59eaf6408": "SUN",
    "1705d23038f5072d": "AWA2",
    "1d52230e8fc8c6c8": "AWA1",
    "166d6dd848c56c52": "aPY",
    "bae4323c394ac1a0": "FLO",
}
_OTHER = {
    "2199bd666e2e7084": "CUB-200-2010, 20 % of each seen class held out by seed 0",
    "9fea0d27f0e73e7a": "digits, as built in",
}


def locs_digest(locs: Mapping[str, Index]) -> str:
    """Digest of the three parts of a split, 16 hex digits.

    Args:
        locs: Part -> 0-based image indices, in any order.
    """
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(part.encode() + b"|" + np.sort(locs[part]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def split_name(digest: str) -> str:
    """Description of the split with this digest, "" if unknown."""
    if digest in _PROPOSED:
        return (
            f"the proposed split of {_PROPOSED[digest]} that this zslkit knows; whether PS or PS "
            "2.0 is not established, their counts agree"
        )
    return _OTHER.get(digest, "")
