"""The project's own virtual environment, `.venv` in the checkout, made once and reused until pyproject.toml changes.

Standard library only, and old syntax: it runs under whatever Python is there, to say which one is needed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
NEWEST_FIRST = ("python3.13", "python3.12", "python3.11")


def need_python():
    """Go on under Python >= 3.11, or end with one line that says what is missing."""
    if sys.version_info >= (3, 11):
        return
    for name in NEWEST_FIRST:
        found = shutil.which(name)
        # A version manager's stub may stand for a Python that is not installed.
        if found and subprocess.call([found, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            sys.exit(subprocess.call([found, *sys.argv]))
    sys.exit("Python %d.%d is too old: install Python 3.11 or newer" % sys.version_info[:2])


def venv_python():
    """Give the environment's interpreter."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(extras):
    """Make the environment and install the project with these extras, unless that is done; return its interpreter."""
    python = venv_python()
    stamp = VENV / ("installed-" + ("-".join(extras) or "core"))
    state = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == state:
        return python
    if not python.exists():
        log("making a virtual environment in .venv")
        if subprocess.call([sys.executable, "-m", "venv", str(VENV)]) != 0:
            sys.exit("the virtual environment could not be made: on Debian and Ubuntu, install python3-venv")
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        log("no C++ compiler found; llama.cpp is compiled at the first install and will need one")
    what = str(ROOT) + ("[%s]" % ",".join(extras) if extras else "")
    install(python, what)
    stamp.write_text(state, encoding="utf-8")
    return python


def install(python, what):
    """Install with pip, its output going to a log file, and say how long it has been at it."""
    log("installing; llama.cpp is compiled the first time, about 6 minutes on two cores")
    record = VENV / "install.log"
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--editable", what]
    start = time.monotonic()
    with record.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=str(ROOT))
        try:
            while process.poll() is None:
                time.sleep(0.5)
                if sys.stderr.isatty():
                    sys.stderr.write("\r  %d s " % (time.monotonic() - start))
                    sys.stderr.flush()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            sys.exit(130)
    if sys.stderr.isatty():
        sys.stderr.write("\r")
    if process.returncode != 0:
        lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
        sys.exit("\n".join(lines[-25:]) + "\nthe installation failed; the whole log is %s" % record)
    log("installed in %.0f s" % (time.monotonic() - start))


def log(message):
    """Say what is being done, on standard error."""
    sys.stderr.write("-- %s\n" % message)
    sys.stderr.flush()
