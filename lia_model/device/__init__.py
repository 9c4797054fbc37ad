"""What is asked of the processor that computes: its memory, copies to it and from it, recorded launches."""
