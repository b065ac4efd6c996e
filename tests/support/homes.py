"""Homes of their own for tests with a real model: nothing that one of them writes is seen by another."""

from __future__ import annotations

import os
import shutil


def linked_home(model_home, folder):
    """Make a home that shares its models and measured step costs with `model_home`, and return it."""

    def link(source, target):
        try:
            os.link(source, target)
        except OSError:  # on another disk
            shutil.copy2(source, target)

    for name in ("models", "tuning"):
        if (model_home / name).is_dir():
            shutil.copytree(model_home / name, folder / name, copy_function=link)
    return folder
