"""DEDN, the Dual Expert Distillation Network (Rao et al., IJCAI 2024), as a zslkit plugin."""
