"""`zslkit data`: from nothing to verified features."""

from __future__ import annotations

from zslkit.cli.lazy import LazyGroup

data = LazyGroup(
    "data",
    package=__name__,
    sections={
        "Commands": {
            "download": "Fetch datasets, checked and resumable, into the layout that papers use.",
            "verify": "Check a dataset: counts, images, duplicates, leaks, split version.",
            "info": "All that is known of a dataset, and what of it is on disk.",
            "prepare": "Images to a feature store, once for all models.",
            "import": "Features of another program become a dataset.",
            "words": "Word vectors made of a dataset's attribute names.",
            "new": "A card and a table to fill in, for a folder of images of your own.",
            "clean": "What lies in the cache, and removing it.",
        }
    },
    elsewhere={"import": "import_:import_"},
    help="Fetch, prepare, check and describe datasets. zslkit datasets lists their names.",
    example="zslkit data info digits",
)
