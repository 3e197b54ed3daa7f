"""Ways to obtain data: download, import, word vectors, drafts for the user's own photos."""
