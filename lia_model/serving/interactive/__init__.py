"""What the service computes while a user waits: crops of pictures, and portraits moved by sliders."""
