"""Animations over HTTP: the messages, the job store that never loses one, and the Ray Serve application."""
