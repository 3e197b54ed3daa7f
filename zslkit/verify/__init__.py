"""Checks of a dataset's files: counts, splits, labels, attributes, features and images."""
