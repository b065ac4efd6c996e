"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once, so that a reader sees the old bytes or the new ones, and never half of them.

    Raises:
        OSError: the folder or the file cannot be written; what was there stays.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows cannot rename an open file
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()  # which tries to write once more
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
