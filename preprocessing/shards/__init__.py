"""Clips in, webdataset shards out, with their manifest and contact sheet."""
