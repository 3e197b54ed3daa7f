"""`python -m zslkit.testing` prints the table of checks in docs/checks.md."""

from zslkit.testing.conformance import table

print(table())
