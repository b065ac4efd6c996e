"""Bundles: everything that an air-gapped machine needs, in one archive that can be checked at any time.

`pack` writes one, from what `contents` and `wheels` gather. `archive`, `manifest` and `signature` read
and check it, `unpack` puts it into a home folder, `verify` checks what lies there. `install` is the installer beside
it.
"""
