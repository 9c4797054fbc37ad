"""What a training measures of itself and writes to its journal."""
