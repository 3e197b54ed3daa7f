"""zslkit: train and compare generalized zero-shot learning models, reproducibly.

>>> import zslkit
>>> result = zslkit.run("eszsl", "digits", seed=0)
>>> result.metrics["H"], result.per_class, result.scores, result.model
>>> zslkit.predict(result, "photo.jpg")
>>> print(zslkit.compare(["eszsl", "ridge"], "digits", seeds=[0, 1, 2]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zslkit.datasets.catalog import load_dataset as load_dataset
    from zslkit.notebook import plots as plots
    from zslkit.notebook.comparison import compare as compare
    from zslkit.notebook.predictions import predict as predict
    from zslkit.notebook.studies import study as study
    from zslkit.report.published import published as published
    from zslkit.runs.api import run as run
    from zslkit.runs.result import evaluate as evaluate
    from zslkit.runs.result import open_run as open_run

_HOME = {
    "compare": "zslkit.notebook.comparison",
    "evaluate": "zslkit.runs.result",
    "load_dataset": "zslkit.datasets.catalog",
    "open_run": "zslkit.runs.result",
    "plots": "zslkit.notebook",
    "predict": "zslkit.notebook.predictions",
    "published": "zslkit.report.published",
    "run": "zslkit.runs.api",
    "study": "zslkit.notebook.studies",
}
__all__ = [
    "__version__",
    "compare",
    "evaluate",
    "load_dataset",
    "open_run",
    "plots",
    "predict",
    "published",
    "run",
    "study",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line imports this package too and must start fast.
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'zslkit' has no attribute {name!r}")
    return import_module(f"{home}.plots") if name == "plots" else getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
