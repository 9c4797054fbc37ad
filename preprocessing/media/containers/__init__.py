"""Media files as containers: their streams, packets and tags, and what they promise."""
