"""Prompt in, samples out: the only importer of llama_cpp."""
