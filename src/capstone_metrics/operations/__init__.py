"""What a run did, told to whoever started it."""
