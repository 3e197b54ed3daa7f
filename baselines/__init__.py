"""The rest of the field as zslkit plugins: one model, one file."""
