"""Log-probabilities from servers, each by what it can give.

The one idea: which of these ways a server knows is found out by asking, once, and the first that it
knows is taken:

    echo      it repeats a prompt with the log-probability of each token (vLLM, SGLang)
    forced    it says that of the token it writes, by the model's own distribution, whatever `logit_bias`
              made it write (llama.cpp): one post per token of a continuation, its prompt computed once
    likeliest it names the likeliest next tokens (OpenAI): options of one word alone
    none      it says nothing of the kind

The first two are exact. In token ids a continuation is known by its place; as text it is looked for in
the tokens that the server shows. Options of one token are asked all at once where a server takes
their ids (`logprob_token_ids` of vLLM) or shows ids beside the likeliest tokens (llama.cpp).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.rows import JSON
from woolgather.engines.base import LogProb
from woolgather.engines.openai.client import Line, Servers
from woolgather.engines.openai.prompt_sizes import PromptSizes, say_cut
from woolgather.engines.openai.refusals import NO_LOGPROBS, Refused
from woolgather.engines.openai.replies import Candidate, Echo, read_candidates, read_echo
from woolgather.engines.openai.server import Scoring
from woolgather.engines.openai.token_ids import SHOWN
from woolgather.engines.openai.wording import check_template, prompt_ids
from woolgather.prompting.forms import spell_out
from woolgather.prompting.messages import Prompt
from woolgather.prompting.renderer import Renderer

T = TypeVar("T")
log = logging.getLogger(__name__)
AT_ONCE = 16
"""Texts whose every token is scored at once: a server may hold a step's tokens times the vocabulary."""
_BIAS = 100.0
"""The most that the protocol allows; logits differ by less."""
_SHOWN = 20
"""Likeliest tokens, the most that the protocol allows after a conversation."""
_SHOWN_TEXT = 5
"""The same after a text."""
_ONE: dict[str, JSON] = {"max_tokens": 1, "temperature": 0.0}
"""What is posted to have one token looked at."""


class Scorer:
    """Scores continuations and options of one model at `servers`; `renderer` is the model's own, None
    where its folder is not here."""

    def __init__(
        self, servers: Servers, model: Model, renderer: Renderer | None, sizes: PromptSizes
    ) -> None:
        self._servers, self._model, self._renderer = servers, model, renderer
        self._sizes = sizes
        self._told = False

    async def score(self, prompt: Prompt, continuation: str) -> LogProb:
        """Returns the log-probability of a continuation. Raises CapabilityError where the server gives
        none, or the text is too long for it."""
        if not continuation:
            return LogProb(0.0, 0)

        async def ask(line: Line) -> LogProb:
            if line.server.takes_ids and self._renderer is not None:
                ids = self._renderer.continuation_ids(continuation)
                return await self._score_ids(line, self._ids(prompt, self._renderer), ids)
            return await self._score_text(line, self._text(prompt), continuation)

        return await self._talk(ask, len(continuation))

    async def score_options(self, prompt: Prompt, options: Sequence[str]) -> list[float]:
        """Returns the log-probability of each option; NaN for each where the server shows none of them
        among its likeliest tokens. Raises CapabilityError as `score` does."""

        async def ask(line: Line) -> list[float]:
            if line.server.takes_ids and self._renderer is not None:
                tokens = [self._renderer.continuation_ids(option) for option in options]
                return await self._options_in_ids(line, self._ids(prompt, self._renderer), tokens)
            spelt = spell_out(prompt, self._model.prompt_format)
            if isinstance(spelt, str) and await self._way(line) == "echo":
                return [(await self._score_text(line, spelt, option)).total for option in options]
            return await self._options_shown(line, spelt, options)

        return await self._talk(ask, max(map(len, options), default=0)) if options else []

    # -- in token ids ---------------------------------------------------------------------------

    async def _score_ids(self, line: Line, prompt: list[int], ids: list[int]) -> LogProb:
        way = await self._way(line)
        if way == "echo":
            body = {**_ONE, "prompt": prompt + ids, "echo": True, "logprobs": 1}
            echo = await line.post("/completions", body, read_echo)
            values = echo.values[len(prompt) : len(prompt) + len(ids)] if echo else []
        elif way == "forced":
            values = [
                await self._forced(line, prompt + ids[:place], token)
                for place, token in enumerate(ids)
            ]
        else:
            values = []
        known = [value for value in values if value is not None]
        if len(known) < len(ids):
            raise CapabilityError(self._nothing())
        return LogProb(math.fsum(known), len(known))

    async def _options_in_ids(
        self, line: Line, prompt: list[int], options: Sequence[list[int]]
    ) -> list[float]:
        known: dict[int, float] = {}
        if all(len(ids) == 1 for ids in options):
            known = await self._next(line, prompt, [ids[0] for ids in options])
        return [
            known[ids[0]]
            if len(ids) == 1 and ids[0] in known
            else (await self._score_ids(line, prompt, ids)).total
            for ids in options
        ]

    async def _next(self, line: Line, prompt: list[int], wanted: list[int]) -> dict[int, float]:
        """Returns, by id, what the server shows of the next token; at best all that are wanted."""
        shown = min(_SHOWN, max(_SHOWN_TEXT, len(wanted)))
        body: dict[str, JSON] = {
            **_ONE,
            "prompt": prompt,
            "logprobs": _SHOWN if line.server.is_llama else shown,
            "logprob_token_ids": sorted(set(wanted)),
            "return_tokens_as_token_ids": True,
        }
        found = await line.post("/completions", body, read_candidates)
        return {one.id: one.logprob for one in found if one.id is not None}

    async def _forced(self, line: Line, prompt: list[int], token: int) -> float | None:
        """Returns the log-probability of a token that the server is made to write; None where it wrote
        another."""
        body = {
            **_ONE,
            "prompt": prompt,
            "logprobs": 1,
            "logit_bias": {str(token): _BIAS},
            "return_tokens_as_token_ids": True,
        }
        found = await line.post("/completions", body, read_candidates)
        return found[0].logprob if found and found[0].id == token else None

    # -- as text --------------------------------------------------------------------------------

    async def _score_text(self, line: Line, prompt: str, continuation: str) -> LogProb:
        text = prompt + continuation
        tokens, values = await self._echo(line, text)
        start = _token_at(tokens, text, len(prompt))
        if start is None:
            # Pieces of a character, or tokens shown without their spaces, cannot be laid along the
            # text: count the tokens of the prompt alone.
            start = len((await self._echo(line, prompt))[0]) if prompt else 0
        inside = [value for value in values[start:] if value is not None]
        if len(inside) < len(values[start:]):
            raise CapabilityError(
                f"{self._servers}: the first token of a text has no log-probability here. Give a "
                "prompt that is not empty, or use --engine transformers."
            )
        return LogProb(math.fsum(inside), len(inside))

    async def _echo(self, line: Line, text: str) -> tuple[list[str], list[float | None]]:
        """Returns the tokens of `text`, as the server shows them, and the log-probability of each; the
        first has none."""
        # One new token, since some servers refuse to write none; it lies behind the text's own.
        body = {**_ONE, "prompt": text, "echo": True, "logprobs": 1}
        given = await line.post("/completions", body, read_echo)
        if given is None or not given.text.startswith(text):
            raise CapabilityError(self._nothing())
        if 0 < given.prompt_tokens < self._sizes.at_least(text):
            raise EngineError(f"{self._servers}: {say_cut(given.prompt_tokens)}")
        own = given.prompt_tokens or len(given.tokens) - 1
        return [*given.tokens[:own]], [*given.values[:own]]

    async def _options_shown(
        self, line: Line, prompt: Prompt, options: Sequence[str]
    ) -> list[float]:
        """Reads the options off the likeliest next tokens. One that is not among them is held to be less
        likely than each that is, and than all the rest together."""
        words = [option.strip() for option in options]
        if not all(words) or any(len(word.split()) > 1 for word in words):
            raise CapabilityError(
                f"{self._servers}: this server shows the likeliest next tokens only, which cannot tell "
                f"options of several words apart. {NO_LOGPROBS}"
            )
        path, body = self._ask_likeliest(prompt)
        found = await line.post(path, body, read_candidates)
        if not found:
            raise CapabilityError(self._nothing())
        self._tell_likeliest()
        shares = [_share(found, word) for word in words]
        if not any(shares):
            return [math.nan] * len(options)
        rest = max(1.0 - math.fsum(math.exp(one.logprob) for one in found), math.ulp(1.0))
        least = min(*(one.logprob for one in found), math.log(rest))
        return [math.log(share) if share else least for share in shares]

    def _ask_likeliest(self, prompt: Prompt) -> tuple[str, dict[str, JSON]]:
        if isinstance(prompt, str):
            return "/completions", {**_ONE, "prompt": prompt, "logprobs": _SHOWN_TEXT}
        check_template(self._model)
        body: dict[str, JSON] = {**_ONE, "logprobs": True, "top_logprobs": _SHOWN}
        body["messages"] = [{"role": m.role, "content": m.content} for m in prompt]
        if prompt and prompt[-1].role == "assistant":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if self._model.chat_template_kwargs:
            body["chat_template_kwargs"] = dict(self._model.chat_template_kwargs)
        return "/chat/completions", body

    # -- what a server can ----------------------------------------------------------------------

    async def _way(self, line: Line) -> Scoring:
        """Returns how this server gives log-probabilities of a prompt's tokens, found out once."""
        async with line.server.learning:
            if line.server.scoring is None:
                line.server.scoring = await self._find_way(line)
            return line.server.scoring

    async def _find_way(self, line: Line) -> Scoring:
        in_ids = line.server.takes_ids and self._renderer is not None
        ids = self._renderer.prompt_ids(SHOWN, "raw") if in_ids and self._renderer else []
        body = {**_ONE, "prompt": ids or SHOWN, "echo": True, "logprobs": 1}
        try:
            if _repeats(await line.post("/completions", body, read_echo), ids):
                return "echo"
            if not ids:
                return "likeliest"
            forced = await self._forced(line, ids, ids[0])
        except (Refused, CapabilityError):
            return "none" if ids else "likeliest"
        # Of a token that is not the likeliest at most half; a server that counts the bias in says 1.
        return "forced" if forced is not None and forced < math.log(0.5) else "none"

    # -- common to all --------------------------------------------------------------------------

    async def _talk(self, ask: Callable[[Line], Awaitable[T]], size: int) -> T:
        try:
            return await self._servers.talk(ask)
        except Refused as refused:
            failure = CapabilityError if refused.reason == "too_long" else EngineError
            raise failure(
                f"{self._servers}: no log-probabilities for a text of {size} characters and its prompt "
                f"({refused}: {refused.why}). Set long rows aside before, or serve a longer context."
            ) from None

    def _ids(self, prompt: Prompt, renderer: Renderer) -> list[int]:
        """Returns the ids up to where an answer begins, behind reasoning that the prompt opens."""
        form = self._model.prompt_format
        begun = isinstance(prompt, str) or form != "chat" or prompt[-1].role == "assistant"
        return prompt_ids(prompt, self._model, renderer) + ([] if begun else renderer.answer_lead)

    def _text(self, prompt: Prompt) -> str:
        spelt = spell_out(prompt, self._model.prompt_format)
        if not isinstance(spelt, str):
            raise CapabilityError(
                f"{self._servers}: servers that take no token ids give log-probabilities after raw text, "
                f"not after a conversation. {NO_LOGPROBS}"
            )
        return spelt

    def _nothing(self) -> str:
        return f"{self._servers}: no log-probabilities of the prompt in the answer. {NO_LOGPROBS}"

    def _tell_likeliest(self) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "%s: options are read off the likeliest next tokens, which is all that this server "
                "shows; one that is not among them counts as less likely than each of them",
                self._servers,
            )


def _repeats(echo: Echo | None, ids: Sequence[int]) -> bool:
    """Returns whether a server repeated `SHOWN` with a log-probability for each token but the first."""
    if echo is None or not (ids or echo.text.startswith(SHOWN)):
        return False
    own = len(ids) or echo.prompt_tokens or len(echo.values) - 1
    return len(echo.values) >= own > 1 and None not in echo.values[1:own]


def _share(found: Sequence[Candidate], word: str) -> float:
    """Returns the probability of the tokens that spell a word, with a space or without."""
    return math.fsum(math.exp(one.logprob) for one in found if one.text.strip() == word)


def _token_at(tokens: Sequence[str], text: str, at: int) -> int | None:
    """Returns the index of the token that holds character `at` of `text`, or None when the tokens do
    not spell it.

    A start token before the text is stepped over.
    """
    first = 0 if not tokens or text.startswith(tokens[0]) else 1
    if "".join(tokens[first:]) != text:
        return None
    ends = itertools.accumulate(map(len, tokens[first:]))
    return next((first + i for i, end in enumerate(ends) if end > at), None)
