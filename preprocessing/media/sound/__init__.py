"""Sound of videos."""
