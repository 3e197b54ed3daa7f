"""How a check ends early: the model breaks the rule, or the rule does not apply to it."""

from __future__ import annotations


class Failed(Exception):
    """The model breaks the rule; the text says how."""


class Skipped(Exception):
    """The rule does not apply to the model; the text says why."""
