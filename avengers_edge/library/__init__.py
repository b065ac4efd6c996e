"""Source in, verified file out: the only code that opens a socket to the outside."""
