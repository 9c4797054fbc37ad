"""What earlier runs left of each source: its verified video, here or in a store, or why there is none."""
