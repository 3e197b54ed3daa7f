"""Readers of files from others: every file is data, and no code in it runs."""
