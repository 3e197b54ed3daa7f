"""`python -m zslkit.testing`: the table of checks that docs/checks.md holds."""

from zslkit.testing.conformance import table

print(table())
