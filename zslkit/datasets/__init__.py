"""Datasets by name: built-in data, benchmarks, and cards of the user's own photos or features."""
