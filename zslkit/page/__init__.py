"""The HTML report of `zslkit report`: a folder with one page that needs no network."""
