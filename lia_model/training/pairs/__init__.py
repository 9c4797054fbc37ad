"""Training pairs: which ones, shared out over ranks, decoded, replaced if damaged, augmented."""
