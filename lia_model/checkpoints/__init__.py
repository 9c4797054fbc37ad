"""Checkpoint directories, and conversion from and to other formats."""
