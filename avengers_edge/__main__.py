"""`avengers` and `python -m avengers_edge`: guards the imports, which last long enough for a Ctrl-C to hit them."""

import os
import sys


def main() -> None:
    """Run the command line; a Ctrl-C that comes before it can answer for itself ends in one line too."""
    try:
        import atexit
        import gc
        import signal

        # Imports make many objects and no garbage: at the usual threshold searching them takes a tenth of a start.
        gc.set_threshold(100_000)

        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours:
            # Leave at once: a C extension that is being imported may swallow a KeyboardInterrupt.
            signal.signal(signal.SIGINT, _leave)
            # Run last of all. Then Python takes its handlers away, and a further Ctrl-C would be a death by SIGINT.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        from avengers_edge.cli.root_command import main as run

        if ours:
            signal.signal(signal.SIGINT, _interrupt)
        try:
            run()
        finally:
            gc.freeze()  # what is left is freed with the process, and not searched once more
            if ours:
                # Whatever Python still does at its end, a further Ctrl-C ends it without another word.
                signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    except KeyboardInterrupt:
        _leave()


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt; where an earlier one is still unwinding, leave at once."""
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit):  # its line was written
        os._exit(130)
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            _leave()
        error = error.__context__
    raise KeyboardInterrupt


def _leave(*_: object) -> None:
    try:
        if sys.stderr is not None:
            os.write(2, b"avengers: interrupted\n")
    finally:
        os._exit(130)  # errors.INTERRUPTED_EXIT_CODE, which may not be imported yet


if __name__ == "__main__":
    main()
