"""EarlierGradient, a plugin of zslkit: `zslkit models earlier-gradient` tells about it."""
