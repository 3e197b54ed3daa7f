"""Conformance checks for models, and a tiny dataset to test a model with.

>>> from zslkit.testing import check_model
>>> check_model(MyModel)
"""

from zslkit.testing.check import Check, CheckResult, ConformanceError
from zslkit.testing.conformance import CHECKS, check_model, parametrize_with_checks
from zslkit.testing.tiny import tiny_dataset, tiny_inputs, tiny_task

__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "ConformanceError",
    "check_model",
    "parametrize_with_checks",
    "tiny_dataset",
    "tiny_inputs",
    "tiny_task",
]
