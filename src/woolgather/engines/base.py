"""How a model is asked: requests in, completions out, and log-probabilities where an engine has them.

A prompt is either a text to complete (`str`, sent as it is) or a conversation (a tuple of
`Message`s, put through the model's chat template or spelt out as ChatML; a last message of the role
"assistant" is a beginning the model continues). An engine tokenizes it once, in renderer.py. Results
stream in any order with the index of their request; requests are pulled lazily. Nothing here knows
who is asking.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import ClassVar, Literal, NamedTuple

from woolgather.core.artifacts import Model, PromptFormat, TemplateVariables
from woolgather.core.errors import CapabilityError
from woolgather.core.options import Options
from woolgather.core.rows import JSON
from woolgather.prompting.forms import TURN_STOP, spell_out
from woolgather.prompting.messages import Prompt
from woolgather.prompting.reasoning import split_reasoning


class Sampling(Options):
    """How the tokens of a completion are sampled."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """Keep the smallest set of tokens whose probability reaches this; in (0, 1]."""
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    max_tokens: int = 256
    """New tokens at most."""
    stop: tuple[str, ...] = ()
    """Texts at which the completion ends; the text itself is not returned."""
    repetition_penalty: float = 1.0
    """Divides the scores of tokens seen before; 1 is off."""
    seed: int = 0
    """Random seed."""
    trigram_penalty: float = 0.0
    """Subtracted from a token's score for each time that the new text has it after the same two
    tokens already; 0 is off. The engine `transformers` alone has it."""
    quadgram_penalty: float = 0.0
    """The same, after the same three tokens."""

    added: ClassVar[frozenset[str]] = frozenset({"trigram_penalty", "quadgram_penalty"})


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, and how its completion is drawn."""

    prompt: Prompt
    sampling: Sampling

    def spell_out(self, prompt_format: PromptFormat) -> Request:
        """Returns the request as an engine sends it to a model that is asked in this form: a conversation
        in ChatML is a text, and ends where a turn does."""
        prompt = spell_out(self.prompt, prompt_format)
        if prompt is self.prompt:
            return self
        stop = tuple(dict.fromkeys((*self.sampling.stop, TURN_STOP)))
        return Request(prompt, self.sampling.model_copy(update={"stop": stop}))


FinishReason = Literal["stop", "length", "too_long", "error"]
"""Why a completion ended. stop: an end token or a stop text; length: max_tokens, or an end within the
reasoning before any answer; too_long: the prompt leaves no room in the model's context, nothing was
generated; error: the engine gave up on this request alone."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after one prompt, and why it ended there."""

    text: str
    """The answer alone: without the prompt, the reasoning before it and the stop text."""
    finish_reason: FinishReason
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """New tokens, those of the reasoning included."""
    reasoning: str = ""
    """What the model wrote before its answer to find it; empty where it wrote nothing of the kind."""
    why: str = field(default="", compare=False)
    """Why the engine gave up on this request, in the words of a server where it said any: a note."""


def settle(raw: Completion, stop: Sequence[str] = (), *, opened: bool = False) -> Completion:
    """Returns the completion that a generated text makes: the reasoning in it told from the answer, which
    is cut where the first of the texts `stop` begins.

    `raw` holds the text as it was generated, with reasoning that was told apart before; `opened` says
    that the prompt ended within reasoning. A text that ends within it is unfinished and has no answer.
    """
    split = split_reasoning(raw.text, opened=opened)
    thought = "\n\n".join(part for part in (raw.reasoning, split.reasoning) if part)
    cut = min((at for end in stop if (at := split.answer.find(end)) >= 0), default=None)
    reason = raw.finish_reason
    if cut is not None and reason != "error":
        reason = "stop"
    elif reason == "stop" and not (split.finished and (split.answer or not thought)):
        reason = "length"
    return replace(raw, text=split.answer[:cut], finish_reason=reason, reasoning=thought)


class LogProb(NamedTuple):
    """The log-probability of a continuation, given its prompt."""

    total: float
    """Summed natural log-probability of its tokens (end token not included)."""
    tokens: int
    """How many tokens were summed."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a program makes of prompts before its model sees them: two programs that agree in it ask the
    same."""

    prompts: list[list[int]]
    """Token ids of each."""
    end_ids: list[int]
    """Tokens at which generation stops."""
    template: str
    """The chat template."""


class Engine(ABC):
    """Asks one model. An engine must complete; what else it can do it overrides.

    Every method that asks raises CapabilityError when this engine cannot do what is asked, and
    EngineError when it could but failed."""

    options: EngineOptions | None = None
    """How a run opens it, for an op that has another program ask the model; None outside of runs."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def model(self) -> Model:
        """Returns the model that is asked."""
        return self._model

    @property
    def width(self) -> int:
        """Returns how many equal engines stand behind this one; calls are cut for as many."""
        return 1

    @abstractmethod
    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Yields one (index, Completion) per request, in any order; `index` counts the requests
        from 0. Requests are pulled lazily, so that the iterable may be endless.

        A request that fails alone is a completion with the finish reason "too_long" or "error".
        Raises EngineError when the engine as a whole fails.
        """

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        """Returns the natural log-probability of each option as the next text after each prompt,
        [prompts][options].

        By default it is taken from `sequence_logprobs`, one sequence per prompt and option. Raises
        CapabilityError when the engine gives no log-probabilities.
        """
        pairs = list(product(prompts, options))
        flat = self.sequence_logprobs([p for p, _ in pairs], [o for _, o in pairs])
        n = len(options)
        return [[one.total for one in flat[i * n : (i + 1) * n]] for i in range(len(prompts))]

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        """Returns one LogProb per (prompt, continuation) pair, in their order; logits are divided
        by `temperature` before they are normalized.

        Raises CapabilityError when the engine gives no log-probabilities, or none for these prompts
        or at this temperature.
        """
        raise CapabilityError(self._cannot("log-probabilities"))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns one vector per text, [texts][hidden size]: the mean of the last hidden states of
        its tokens. Raises CapabilityError when the engine gives no embeddings.
        """
        raise CapabilityError(self._cannot("embeddings"))

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        """Returns how prompts are rendered and tokenized. Raises CapabilityError when that is not known
        here, as of a server.
        """
        raise CapabilityError(self._cannot("token ids"))

    def take_over(self, other: Engine) -> bool:
        """Takes what `other` has in memory, where that can answer for this model as well. Returns whether
        it did; then `other` holds nothing. By default nothing is taken."""
        return False

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Frees what the engine holds; by default it holds nothing. May be called twice."""

    def _cannot(self, what: str) -> str:
        return f"{type(self).__name__} gives no {what}. Use --engine transformers."


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Where and how fast a model is asked. No part of a step's identity: changing it re-runs nothing, but
    for `chat_template_kwargs`, which changes what is asked."""

    name: str = "transformers"
    """transformers | vllm | openai | fake"""
    device: str = "auto"
    """auto | cpu | cuda | cuda:1 ..."""
    dtype: str = "auto"
    """auto | bfloat16 | float16 | float32; auto takes the faster of bfloat16 and float32 on the
    device, by measurement."""
    batch_tokens: int = 0
    """Token budget of a batch (prompt and new tokens); 0 chooses from the memory there is."""
    urls: tuple[str, ...] = ()
    """openai: servers that all hold the model, each `URL` or `URL#NAME` (see serving.py)."""
    serve: tuple[str, ...] = ()
    """Servers of single models, each `ROLE_OR_PATH=URL#NAME`; a run finds in them the `urls` of the model
    it asks, and asks the models that are not among them by `name`."""
    adapter: str = ""
    """openai: folder of the adapter that the servers load to answer for the model."""
    api_key_env: str = "OPENAI_API_KEY"
    """openai: the environment variable that holds the key. The key itself is never stored."""
    concurrency: int = 64
    """openai: requests in flight, at most; adapts below it."""
    python: str = ""
    """vllm: the interpreter that vLLM is installed in; empty looks for one (see vllm/interpreter.py)."""
    args: Mapping[str, JSON] = field(default_factory=dict)
    """vllm: arguments of `vllm.LLM`, in place of our own, e.g. {"tensor_parallel_size": 2}."""
    replicas: int = 0
    """Replicas of the engine, each a process that Ray places; 0 asks it without Ray."""
    ray: str = ""
    """HOST:PORT of the Ray cluster that holds the replicas; empty starts Ray on this machine."""
    date: str = ""
    """YYYY-MM-DD that chat templates see as today; pinned by the run."""
    trust_remote_code: bool = False
    chat_template_kwargs: TemplateVariables = field(default_factory=dict)
    """Variables of the chat templates of models from outside, e.g. {"enable_thinking": False}; a model
    takes them on when it is opened (see Model.chat_template_kwargs), and so do those trained from it."""


def ask(engine: Engine, requests: Iterable[Request]) -> Iterator[Completion]:
    """Yields completions in the order of their requests, as soon as that order allows. Raises what
    `engine.complete` raises."""
    waiting: dict[int, Completion] = {}
    due = 0
    for index, completion in engine.complete(requests):
        waiting[index] = completion
        while due in waiting:
            yield waiting.pop(due)
            due += 1
