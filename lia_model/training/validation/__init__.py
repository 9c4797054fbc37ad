"""Validation inside a run: which held-out pairs, and what is measured on them."""
