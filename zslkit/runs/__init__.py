"""One run from its settings to its record, and finished runs read back."""
