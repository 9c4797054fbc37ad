"""What the system needs at a scale at which it has not run, computed from unit costs; see infra/SCALE.md."""
