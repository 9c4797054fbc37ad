"""`make demo`: the whole loop on a sample clip, and its report."""
