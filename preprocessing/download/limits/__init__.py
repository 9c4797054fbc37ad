"""How often hosts are requested: quotas, distances and back-offs, in one process or for a cluster."""
