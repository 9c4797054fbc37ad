"""Video links in, verified files out: one attempt, retries, per-host rate limits."""
