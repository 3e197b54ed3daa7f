"""Finished runs as one folder with a page in it, which opens without a network: what `zslkit report` writes."""
