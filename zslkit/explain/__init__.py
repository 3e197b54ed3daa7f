"""One trained model at work: predictions, explanations, heat maps."""
