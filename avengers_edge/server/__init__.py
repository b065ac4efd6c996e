"""OpenAI-compatible HTTP over a team: requests in, routed and voted answers out."""
