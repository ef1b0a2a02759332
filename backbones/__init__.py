"""Backbones of mimdet: one architecture per file, each found through its entry point."""
