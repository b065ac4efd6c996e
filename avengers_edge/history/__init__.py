"""Conversations kept on this machine in one SQLite file: written as they grow, searched, exported, deleted."""
