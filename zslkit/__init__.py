"""zslkit: train and compare generalized zero-shot learning models, reproducibly.

>>> import zslkit
>>> result = zslkit.run("mine", "digits", seed=0)
>>> result.metrics["H"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zslkit.datasets.catalog import load_dataset as load_dataset
    from zslkit.evaluation.gzsl import evaluate as evaluate
    from zslkit.runs.api import run as run

_HOME = {
    "run": "zslkit.runs.api",
    "load_dataset": "zslkit.datasets.catalog",
    "evaluate": "zslkit.evaluation.gzsl",
}
__all__ = ["__version__", "evaluate", "load_dataset", "run"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line imports this package too and must start fast.
    if name not in _HOME:
        raise AttributeError(f"module 'zslkit' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
