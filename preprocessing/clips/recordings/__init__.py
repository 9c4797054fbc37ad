"""Which clips show the same recording: signatures of clips, and the search for duplicates."""
