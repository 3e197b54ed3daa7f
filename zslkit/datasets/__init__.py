"""Datasets by name: built in, benchmarks, cards and imported features."""
