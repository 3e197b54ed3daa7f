"""From photos to feature maps, and the store that keeps them."""
