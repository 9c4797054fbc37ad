"""A search for better settings: many trainings, of which the worse ones end early."""
