"""Helpers without a room of their own: files, JSON lines, TOML, text and timing."""
