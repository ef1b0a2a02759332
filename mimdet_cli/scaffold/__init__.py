"""A package with a new backbone in it, written from `templates/`."""
