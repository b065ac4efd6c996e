"""The chat page: static files, joined into one document that needs nothing else."""
