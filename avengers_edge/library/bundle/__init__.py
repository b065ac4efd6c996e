"""Bundles: everything that an air-gapped machine needs, in one archive that can be checked at any time.

`zstd`, `tar`, `ed25519`, `manifest`, `archive` and `install` need nothing but Python's standard library and each other:
`installer` joins them to the one script that a bundle carries, so that it is installed by the code that verifies it.
"""
