"""A worker process whose engine does what the prompt says; run by the tests of `engine.worker_engine`.

python worker_child.py [serve | garble | mute | noise | refuse | half]
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from avengers_edge.engine import wire, worker
from avengers_edge.engine.protocol import EngineFacts, LoadOptions, RequestHandle
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import DoesNotFit, EngineDied, VerificationFailed
from avengers_edge.records import Completion, Generation, Message, Request

FACTS = EngineFacts("scripted", 4096, 8192, 4, 0, (("CPU", 12_345),), False, 2, "none")


class ScriptedEngine:
    """Each request runs on a thread of its own and follows its last message, word by word."""

    def __init__(self, path: Path, options: LoadOptions, curve: StepCurve | None, beat: Callable[[], None]) -> None:
        self.facts = FACTS
        self.alive = True
        self.curve, self.beat = curve, beat

    def submit(self, request, *, on_finish=None, on_token=None):
        if request.messages[-1].content == "too long":
            raise DoesNotFit("no room")
        off = threading.Event()
        handle = RequestHandle(off.set)
        threading.Thread(target=self._run, args=(request, on_finish, on_token, off, handle), daemon=True).start()
        return handle

    def _run(self, request, on_finish, on_token, off, handle):
        try:
            done = [self._sample(index, request, on_token, off) for index in self._indices(request, on_finish)]
            handle.future.set_result(Generation(tuple(done), 7, 1.5, 2.5, 3))
        except BaseException as error:
            handle.future.set_exception(error)

    def _indices(self, request, on_finish):
        needed = request.n
        for index in range(request.n):
            if needed > 0:
                yield index
                if on_finish:
                    needed = on_finish(self._completion(index, request, "stop"))

    def _completion(self, index, request, reason):
        text = request.messages[-1].content
        return Completion(index, request.seed + index, text, len(text.split()), reason)

    def _sample(self, index, request, on_token, off):
        words = request.messages[-1].content.split()
        for place, word in enumerate(words):
            if on_token:
                on_token(index, word)
            self._do(word, words[place + 1 :], off)
            if off.is_set():
                return self._completion(index, request, "cancelled")
        return self._completion(index, request, "stop")

    def _do(self, word, rest, off):
        match word:
            case "SIGNAL":
                os.kill(os.getpid(), int(rest[0]))
                threading.Event().wait()
            case "EXIT":
                os._exit(int(rest[0]))
            case "ASSERT":
                os.write(2, b"noise\nllama.cpp:12: GGML_ASSERT(logits != nullptr) failed\nmore \x1b[31mnoise\n")
                os.abort()
            case "MEMORY":
                raise MemoryError
            case "BUG":
                raise RuntimeError("not on\npurpose")
            case "DIED":
                self.alive = False
                raise EngineDied("the step failed")
            case "HANG":
                threading.Event().wait()
            case "BEAT":
                while not off.wait(0.05):
                    self.beat()
            case "PRINT":
                os.write(1, b'{"is":"Beat"}\n')
                sys.stdout.write("on standard output\n")
                sys.stdout.flush()
            case "TEMPLATE":
                from avengers_edge.engine.chat_template import ChatTemplate

                with worker.template_limits(0.3):
                    ChatTemplate(" ".join(rest)).render([Message("user", "Hi")])
            case "CRASH":  # a thread that everybody waits for ends with an error
                threading.Thread(target=lambda: 1 / 0).start()
                threading.Event().wait()

    def count_tokens(self, request: Request) -> int:
        return len(request.messages[-1].content)

    def measure(self, budget: float) -> StepCurve:
        return self.curve or StepCurve(((1, budget),))

    def save_state(self, path: Path) -> int:
        path.write_text("kept", encoding="utf-8")
        return 4

    def load_state(self, path: Path) -> int:
        return 4 if path.exists() else 0

    def close(self) -> None:
        self.alive = False


def main(mode: str) -> None:
    if mode == "refuse":

        def refuse(*_):
            raise VerificationFailed("no chat template")

        worker.main(refuse)
    if mode == "noise":
        os.write(1, b"a startup file prints this")
    if mode in ("serve", "noise"):
        worker.main(ScriptedEngine)
    if mode in ("garble", "half"):
        os.write(1, wire.encode(wire.Ready(1, FACTS)))
        os.write(1, b'{"is":"Token"}\n' if mode == "garble" else b'{"is":"Tok')
        os.close(1)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
