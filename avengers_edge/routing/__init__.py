"""Vector in, ranked members out: ONNX embedder, centroid table, router."""
