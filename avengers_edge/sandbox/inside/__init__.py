"""What runs in the sandbox's own process, before and around the program; it imports the standard library only."""
