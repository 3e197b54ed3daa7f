"""EarlierClosed, a plugin of zslkit: `zslkit models earlier-closed` tells about it."""
