"""Published lists of sources, a file per format, into rows of our own `data/sources.csv`."""
