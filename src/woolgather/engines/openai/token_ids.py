"""Prompts as token ids: whether a server takes them, found out once, and never guessed.

The one idea: where a server takes ids, template and tokens are ours, as in every other engine, and its
own chat template and tokenizer do not matter. It is shown one text twice, in letters and in ids. It must
count as many tokens as there are ids, and as many in the letters, but for a start token: then it reads
ids as ids, and its tokenizer is the model's. A model whose folder is not here is asked in text.
"""

from __future__ import annotations

import logging
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, InputError
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.client import Line, Passing
from woolgather.engines.openai.refusals import Refused
from woolgather.engines.openai.replies import read_answer
from woolgather.engines.rendered import find_tokenizer
from woolgather.prompting.renderer import Renderer

log = logging.getLogger(__name__)
SHOWN = (
    "In 1984 na\u00efve readers   paid 12,345.67 \u20ac;\n\tdef f(x): return x**2  # "
    "\u6771\u4eac \U0001f642\nThe capital of France is"
)
"""Digits, signs, spaces, code and letters of several scripts: tokenizers seldom agree on their count."""
_STARTS = 1
"""Start tokens by which letters may differ: those that the server puts there, or ours."""

_FALLS = 3
"""Times that a server may fail over token ids before it counts as one that cannot read them."""


def load_renderer(model: Model, options: EngineOptions) -> Renderer | None:
    """Returns the renderer of a model; None where its folder is not here, or has no tokenizer that can be
    loaded."""
    if not Path(model.path).is_dir():
        return None
    try:
        return Renderer(
            find_tokenizer(model.path),
            template=model.chat_template,
            date=options.date,
            variables=model.chat_template_kwargs,
            trust_remote_code=options.trust_remote_code,
        )
    except (InputError, ImportError) as error:
        log.warning("servers are asked in text: %s", error)
        return None


async def takes_ids(line: Line, ids: list[int]) -> bool:
    """Returns whether a server takes a prompt as token ids, of which `ids` spell `SHOWN`; where it does
    not, that is told. Raises as Line.post does for a server that answers nothing at the time."""
    try:
        in_letters = await _count(line, SHOWN)
    except (Refused, CapabilityError):
        return _no(line, "it takes no text either, so conversations are in its own template")
    in_ids = await _count_ids(line, ids)
    if in_ids is None:
        return _no(line)
    if not in_ids:
        return _no(line, "it does not say how many tokens it read (usage)")
    if in_ids != len(ids):
        return _no(line)
    if abs(in_letters - in_ids) > _STARTS:
        return _no(
            line, f"it reads {in_letters} tokens where the model's folder has {len(ids)} of its own. "
            "Is it the same model?"
        )  # fmt: skip
    return True


def _no(line: Line, why: str = "it reads text") -> bool:
    log.warning(
        "%s: takes no token ids (%s). The server's own tokenizer counts, and for conversations its own "
        "chat template.",
        line.server.shown,
        why,
    )
    return False


async def _count_ids(line: Line, ids: list[int]) -> int | None:
    """Returns what `_count` does; None where ids are refused."""
    for attempt in range(_FALLS):
        try:
            return await _count(line, ids)
        except (Refused, CapabilityError, ConfigError):
            return None
        except Passing as error:
            # Some programs fall over a list; the same in letters has just been answered.
            if error.status != 500:
                raise
            log.info("%s: falls over token ids (%d of %d)", line.server.shown, attempt + 1, _FALLS)
    return None


async def _count(line: Line, prompt: JSON) -> int:
    """Returns how many tokens a server says it read of a prompt."""
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0}
    return (await line.post("/completions", body, read_answer)).prompt_tokens
