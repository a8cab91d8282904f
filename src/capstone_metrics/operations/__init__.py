"""What a run did: its record, what is told from it, and what is late."""
