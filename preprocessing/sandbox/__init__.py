"""Work in child processes with limits, so that a crash, a hang or a leak costs one source."""
