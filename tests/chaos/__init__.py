"""Real systems, broken on purpose while they are under load."""
