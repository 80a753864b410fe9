"""How many tokens a prompt has at least, to notice a server that cuts prompts and says nothing.

The one idea: what a server says it read (`usage.prompt_tokens`) is compared with a lower bound of our
own: the count of the model's tokenizer where its folder is here, less a twentieth for what a template
may strip; otherwise one token for every eight characters. Runs of one character, which are few
tokens, are counted short, and prompts below `SHORT` characters are not looked at: they fit anywhere.
A server that counts only what it had not cached would be taken for one that cuts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from woolgather.prompting.messages import Prompt
from woolgather.prompting.tokenizer import find_counter

SHORT = 512
"""Characters."""
_CHARACTERS = 8
"""More than any text in words has per token; English has 4 to 5."""
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_STRIPPED = 0.05


class PromptSizes:
    """Counts for the model at `path`, a folder or whatever else a server calls it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._counter: Callable[[str], int] | None = None
        self._looked = False

    def at_least(self, prompt: Prompt) -> int:
        """Returns a lower bound of the tokens of a prompt; 0 for a short one."""
        texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
        if sum(map(len, texts)) < SHORT:
            return 0
        if not self._looked:
            self._counter, self._looked = find_counter(self._path), True
        if self._counter is not None:
            return int(sum(map(self._counter, texts)) * (1 - _STRIPPED))
        return sum(len(_RUN.sub(r"\1", text)) for text in texts) // _CHARACTERS


def say_cut(told: int) -> str:
    """Returns what is said of a server that answers only a part of a prompt, of which it read `told`
    tokens."""
    return (
        f"the server read {told} tokens of a prompt that has more: it cuts what does not fit into its "
        "context. Serve the model with a longer one (num_ctx, --ctx-size, --max-model-len)."
    )
