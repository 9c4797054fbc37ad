"""Child processes with limits on time and memory, so that a crash, a hang or a leak costs one request."""
