"""Click commands: parse, one call, print."""
