"""Checks whether a dataset is what it should be."""
