"""Bounds on what can be written: GBNF or a JSON schema, vetted first, then followed by llama.cpp."""

from __future__ import annotations

import ctypes
import functools
import time
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.gbnf import vet
from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing, SamplingParams

_MOST_BYTES = 64 * 1024
_MOST_SECONDS = 2.0  # seconds of processor time to look at a vocabulary
_MOST_SECONDS_TO_ACCEPT = 0.1


@functools.lru_cache(maxsize=8)  # one reading for all samples of a request
def grammar_text(sampling: SamplingParams) -> str | None:
    """Return the GBNF that bounds a text, if anything does, vetted for `Grammar`; raise `BadRequest` where it fails.

    A schema is enforced or refused, keyword by keyword: `oneOf` is taken as `anyOf`, properties come in the schema's
    order, and none is written that the schema does not name unless it names none.
    """
    if sampling.schema is not None:
        _limit_size("schema", sampling.schema)
        text = schema_grammar(sampling.schema)
        try:
            vet(text)
        except BadRequest as error:
            raise BadRequest(f"made of the schema, {error}") from error
        return text
    if sampling.grammar is not None:
        _limit_size("grammar", sampling.grammar)
        vet(sampling.grammar)
    return sampling.grammar


def unwritable_tokens(vocab: object) -> NDArray[np.bool_]:
    """Mark the tokens that print nothing, once a model: a grammar would count their names as text that is not there."""
    silent = llama.LLAMA_TOKEN_ATTR_UNKNOWN | llama.LLAMA_TOKEN_ATTR_CONTROL
    attributes = (llama.llama_vocab_get_attr(vocab, token) for token in range(llama.llama_vocab_n_tokens(vocab)))
    return np.fromiter((bool(each & silent) for each in attributes), np.bool_)


class Grammar(Closing):
    """llama.cpp's state of one text within a grammar: a `sampler.Constraint`.

    `vocab` is a loaded model's, `text` comes from `grammar_text`, `unwritable` from `unwritable_tokens`. A token that
    ends generation is allowed where the grammar is complete.
    """

    def __init__(self, vocab: object, text: str, unwritable: NDArray[np.bool_]) -> None:
        self._vocab = vocab
        self._unwritable = unwritable
        self._sampler: Any = llama.llama_sampler_init_grammar(vocab, text.encode(), b"root")
        if not self._sampler:
            raise BadRequest(
                "llama.cpp refuses the grammar: let no rule begin with itself, and repeat nothing that may be empty"
            )

    def allows(self, token: int) -> bool:
        return bool(self.allowed(np.array([token], np.int32))[0])

    def allowed(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return for each of these tokens whether it may come next; refused once following it takes too long."""
        if not self._sampler:
            raise EngineDied("the grammar was closed while it was in use: ask again")
        candidates = np.zeros(tokens.size, np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
        candidates["id"] = tokens
        data = candidates.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        array = llama.llama_token_data_array(data=data, size=tokens.size, selected=-1, sorted=False)
        started = time.thread_time()
        llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        _limit_time(started, _MOST_SECONDS)
        kept: NDArray[np.bool_] = candidates["logit"] == 0  # llama.cpp sets -inf
        for place in np.flatnonzero(kept & self._unwritable[tokens]):
            kept[place] = self._ends(int(tokens[place]))
        return kept

    def accept(self, token: int) -> None:
        """Go on after this token; after one that ends generation there is nothing to go on to."""
        if not self.allows(token):  # llama.cpp would end the process
            raise EngineDied(f"token {token} was drawn though the grammar does not allow it")
        if self._ends(token):
            return
        started = time.thread_time()
        llama.llama_sampler_accept(self._sampler, token)
        _limit_time(started, _MOST_SECONDS_TO_ACCEPT)

    def close(self) -> None:
        if self._sampler:
            llama.llama_sampler_free(self._sampler)
            self._sampler = None

    def _ends(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self._vocab, token))


def _limit_size(name: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(f"the {name} has a character that is not valid Unicode at {error.start}") from error
    if size > _MOST_BYTES:
        raise BadRequest(f"the {name} has {size} bytes: use at most {_MOST_BYTES}")


def _limit_time(started: float, most: float) -> None:
    # Ambiguity can double the stacks with each character: what is slow now will hang soon.
    if time.thread_time() - started > most:
        raise BadRequest("the grammar is too ambiguous to follow: let no two alternatives begin alike")
