"""Models of the field as zslkit plugins, one per file."""
