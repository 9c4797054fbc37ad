"""Clips read from shards, and the conversion between bytes and image tensors."""
