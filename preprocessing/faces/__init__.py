"""Faces in video frames: detection, embedding, tracks and people."""
