"""Feature extraction with a frozen backbone, and the store of the results."""
