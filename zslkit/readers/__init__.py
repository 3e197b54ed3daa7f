"""Files of strangers, read as data."""
