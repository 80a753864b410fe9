"""An engine of your own, and an op that asks it: `python examples/own_engine.py`.

The one idea: ops know engines only by `engines.base.Engine`, so a class with `complete` is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from woolgather import Example, Model
from woolgather.engines.base import Completion, Engine, Request, Sampling
from woolgather.engines.fake import text_of
from woolgather.ops.generate.respond import Responding, respond


class LoudEngine(Engine):
    """Answers with the prompt in capitals; it has no log-probabilities and no embeddings."""

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            words = text_of(request.prompt).upper().split()
            limit = request.sampling.max_tokens
            text = " ".join(words[:limit])
            yield index, Completion(text, "stop" if len(words) <= limit else "length")


if __name__ == "__main__":
    engine = LoudEngine(Model(path="loud", fingerprint="loud", prompt_format="raw"))
    tasks = [Example(instruction="name a bird"), Example(instruction="name a tree that is tall")]
    for row in respond(tasks, engine, how=Responding(sampling=Sampling(max_tokens=4))):
        print(row.response, "| set aside:", row.set_aside)
