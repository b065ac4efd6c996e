"""Conversations kept on this machine: one SQLite file, written as they grow, searched, exported, deleted."""
