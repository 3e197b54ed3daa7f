"""Applies a trained model: predictions, explanations, heat maps."""
