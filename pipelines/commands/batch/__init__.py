"""`lia batch`: rows of a CSV file, animated by a running service or, without one, on Ray Data."""
