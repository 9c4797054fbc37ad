"""What runs the project for a team: its stack, estimates of scale, and what Prefect does by itself."""
