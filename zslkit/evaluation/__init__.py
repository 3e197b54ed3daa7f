"""Metrics and protocols of generalized zero-shot learning."""
