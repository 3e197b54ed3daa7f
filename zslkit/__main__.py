"""`python -m zslkit` is `zslkit`."""

import sys

from zslkit.cli.app import main

sys.exit(main())
