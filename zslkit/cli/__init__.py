"""The harness on the command line."""
