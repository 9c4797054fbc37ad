"""The team's stack as plain processes on loopback; start reading at `services.py`."""
