"""Datasets, images and the feature store."""
