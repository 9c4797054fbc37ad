"""What a sample holds beside its metadata and its frames."""
