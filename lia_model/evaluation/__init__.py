"""Evaluation on held-out clips: choose pairs, score models on them, write a report and a page."""
