"""A conversation, turn by turn."""
