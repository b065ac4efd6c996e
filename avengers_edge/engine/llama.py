"""The engine in this process: a loaded model and the one thread that owns it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.chat_template import ChatTemplate, opened_thought, wants_thought
from avengers_edge.engine.grammar import Grammar, grammar_text, unwritable_tokens
from avengers_edge.engine.llama_context import LlamaContext, LlamaModel, measure_steps
from avengers_edge.engine.protocol import (
    EngineFacts,
    LoadOptions,
    ManagedEngine,
    RequestHandle,
    refuse_waiting_on,
    wait_for,
)
from avengers_edge.engine.sampler import Constraint, TokenSampler, check
from avengers_edge.engine.scheduler import Scheduler
from avengers_edge.engine.sequence import SequenceGroup
from avengers_edge.engine.step_cost import UNMEASURED, StepCurve
from avengers_edge.engine.tool_calls import OnceCalled, begins_call, call_grammar
from avengers_edge.errors import AvengersError, BadRequest, ContextFull, EngineDied
from avengers_edge.records import OnFinish, OnToken, Request

TemplateLimits = Callable[[], AbstractContextManager[object]]

_T = TypeVar("_T")
_LONGEST_TOKEN = 64  # characters, about; what is longer by far is not worth being rendered and counted
_CPU_PREFILL_CHUNK, _GPU_PREFILL_CHUNK = 128, 448  # without samples; small where slow, so that Ctrl-C takes effect


class LlamaEngine(ManagedEngine):
    """A `records.Engine` over llama.cpp. Any thread may ask; one thread, its own, touches the native handles.

    Args:
        path: a GGUF file.
        options: how to load it.
        curve: what a step costs, as `measure` gave it once.
        on_heartbeat: called from the owner thread at every sign of progress.
        template_limits: bounds whatever the model's chat template does, see `worker.template_limits`.

    Raises:
        EngineDied: the file cannot be loaded.
        VerificationFailed: it has no usable chat template.

    """

    _model: LlamaModel
    _context: LlamaContext
    _template: ChatTemplate
    _scheduler: Scheduler

    def __init__(
        self,
        path: Path,
        options: LoadOptions,
        *,
        curve: StepCurve | None = None,
        on_heartbeat: Callable[[], None] | None = None,
        template_limits: TemplateLimits = contextlib.nullcontext,
    ) -> None:
        self._heartbeat = on_heartbeat or (lambda: None)
        self._template_limits = template_limits
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._died: AvengersError | None = None
        loaded: concurrent.futures.Future[EngineFacts] = concurrent.futures.Future()
        self.server = threading.Thread(
            target=self._own, args=(path, options, curve, loaded), name=f"llama {path.name}", daemon=True
        )
        self.server.start()
        try:
            self.facts = wait_for(loaded)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self.server.is_alive() and self._died is None

    def close(self) -> None:
        """Cancel what is under way, free the context, then the model; a second call does nothing."""
        self._inbox.put(None)
        if threading.current_thread() is not self.server:
            self.server.join()

    def submit(
        self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None
    ) -> RequestHandle:
        group = SequenceGroup(request, on_finish, on_token, self.server)
        self._post(lambda: self._begin(group))
        return group.handle

    def count_tokens(self, request: Request) -> int:
        return len(self._call(lambda: self._model.tokenize(self._prompt(request))))

    def measure(self, budget: float) -> StepCurve:
        def measured() -> StepCurve:
            if self._scheduler.busy:
                raise BadRequest("the engine is answering: measure it when it is idle")
            self._scheduler = self._new_scheduler(self._scheduler.curve)  # what was kept is gone even if this fails
            curve = measure_steps(self._context, budget=budget, on_heartbeat=self._heartbeat)
            self._scheduler, self._context.seconds = self._new_scheduler(curve), 0.0
            return curve

        return self._call(measured)

    def save_state(self, path: Path) -> int:
        return self._call(lambda: self._scheduler.kv_cache.save(path))

    def load_state(self, path: Path) -> int:
        return self._call(lambda: self._scheduler.kv_cache.restore(path))

    def counters(self) -> dict[str, float]:
        """Return totals since loading or measuring: steps, their seconds and llama.cpp's, prompt and draft tokens."""
        names = ("steps", "step_seconds", "prefilled", "drafted", "accepted")
        return self._call(
            lambda: {name: getattr(self._scheduler, name) for name in names} | {"decode_seconds": self._context.seconds}
        )

    # --- on the owner thread ----------------------------------------------------------------------------------------

    def _own(
        self, path: Path, options: LoadOptions, curve: StepCurve | None, loaded: concurrent.futures.Future[EngineFacts]
    ) -> None:
        try:
            with LlamaModel(path, options, self._heartbeat) as self._model:
                with self._template_limits():
                    self._template = ChatTemplate(self._model.chat_template, bos=self._model.bos, eos=self._model.eos)
                with LlamaContext(self._model, options) as self._context:
                    self._scheduler = self._new_scheduler(curve or UNMEASURED)
                    loaded.set_result(self._context.facts)
                    self._serve()
        except BaseException as error:  # the thread that asked for the model raises it
            if loaded.done():
                self._fail(EngineDied(f"the engine failed: {type(error).__name__}: {error}"))
            else:
                loaded.set_exception(error)
        finally:
            self._died = self._died or EngineDied(f"{path.name} was unloaded: ask again")
            self._refuse_the_rest()

    def _serve(self) -> None:
        while True:
            try:
                command = self._inbox.get(block=not self._scheduler.busy)
            except queue.Empty:
                if not self._step():
                    return
                continue
            if command is None:
                self._fail(EngineDied(f"{self._model.name} was unloaded while it answered: ask again"))
                return
            command()

    def _step(self) -> bool:
        try:
            ended = self._scheduler.step()
        except BaseException as error:  # whatever it is, the cache's state is unknown from here
            known = error if isinstance(error, AvengersError) else None
            self._fail(known or EngineDied(f"the engine failed: {type(error).__name__}: {error}"))
            return False
        for group in ended:
            group.finish()
        self._heartbeat()
        return True

    def _fail(self, error: AvengersError) -> None:
        self._died = error
        for group in self._scheduler.abandon():
            group.fail(error)

    def _refuse_the_rest(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                if command := self._inbox.get_nowait():
                    command()

    def _begin(self, group: SequenceGroup) -> None:
        if self._died:
            group.fail(self._died)
            return
        try:
            check(group.request.sampling, self._model.vocabulary)
            self._sampler_for(group.request, 0).close()  # a grammar is refused before the prompt is evaluated
            prompt = self._prompt(group.request)
            group.begin(self._model.tokenize(prompt), opened_thought(prompt))
            self._scheduler.fit(group)
            self._scheduler.add(group)
        except BaseException as error:  # it is the request's
            group.fail(error)

    def _prompt(self, request: Request) -> str:
        length = sum(len(message.content) for message in request.messages)
        length += sum(len(tool.parameters) for tool in request.tools.functions) if request.tools else 0
        if length > _LONGEST_TOKEN * self._context.longest:
            raise ContextFull(
                f"a prompt of {length} characters does not fit into {self._context.longest} tokens of context: "
                "shorten it"
            )
        with self._template_limits():
            return self._template.render(request.messages, request.tools, thinking=wants_thought(request))

    def _sampler_for(self, request: Request, seed: int) -> TokenSampler:
        return TokenSampler(request.sampling, seed, self._constraint_for(request))

    def _constraint_for(self, request: Request) -> Constraint | None:
        tools = request.tools
        text = grammar_text(request.sampling) if tools is None else call_grammar(tools, self._template.call_form)
        if text is None:
            return None
        grammar = Grammar(self._model.vocab, text, self._unwritable)
        if tools is None or tools.must:
            return grammar
        return OnceCalled(grammar, begins_call(tools), self._model.piece)

    @functools.cached_property
    def _unwritable(self) -> NDArray[np.bool_]:
        return unwritable_tokens(self._model.vocab)

    def _new_scheduler(self, curve: StepCurve) -> Scheduler:
        chunk = _GPU_PREFILL_CHUNK if self._context.facts.layers_offloaded else _CPU_PREFILL_CHUNK
        return Scheduler(self._model, self._context, curve, self._sampler_for, prefill_chunk=chunk)

    def _call(self, function: Callable[[], _T]) -> _T:
        result: concurrent.futures.Future[_T] = concurrent.futures.Future()

        def command() -> None:
            if self._died:
                result.set_exception(self._died)
                return
            try:
                result.set_result(function())
            except BaseException as error:  # it is the caller's
                result.set_exception(error)

        refuse_waiting_on(self.server)
        self._post(command)
        return wait_for(result)

    def _post(self, command: Callable[[], None]) -> None:
        if self._died:
            raise self._died
        self._inbox.put(command)
        if self._died:  # meanwhile, and perhaps too late for the owner to see the command
            self._refuse_the_rest()
