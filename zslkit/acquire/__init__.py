"""How data gets to its place: download, import, word vectors, drafts of own datasets."""
