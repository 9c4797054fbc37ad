"""The champion: which model becomes it, and whether it still is what it was."""
