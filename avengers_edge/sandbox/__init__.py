"""Program in, what it did out: model-written Python, run where it can harm nothing."""
