"""What runs the project beyond one machine: estimates of scale, and what Prefect does by itself."""
