"""Trains models: inputs, batches, the gradient loop, checkpoints, selection on validation."""
