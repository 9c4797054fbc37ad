"""Faces in video frames: detect and embed them, follow them as tracks, cluster tracks into persons."""
