"""Training on Ray: workers, checkpoints, failures, validation tasks and sweeps."""
