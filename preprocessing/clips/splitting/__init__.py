"""Which split a clip goes to: people named across sources, splits assigned, who is in both."""
