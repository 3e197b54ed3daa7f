"""The gradient loop and what it stands on."""
