"""Training: state, one step and the loop in pure torch; `worker` runs the loop under Ray Train."""
