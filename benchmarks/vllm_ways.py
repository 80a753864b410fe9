"""The two ways to ask vLLM, a child process and a server over HTTP, on the same prompts.

    python benchmarks/vllm_ways.py --url URL#NAME [--python PATH] [--model FOLDER] [--prompts 64]
                                   [--tokens 64] [--adapter FOLDER]

The server is yours: a vLLM that holds the same model with the same settings, on this machine. Both ways
get the same token ids, seeds and fields of sampling, one after the other, each after a warm-up; starting
the child is told and not counted. The last line is the server's tokens per second over the child's. With
--adapter the child and the server answer with it, too; then the seconds until the first answer after the
base's are told, in which it is loaded. Without --model the embedded 135M model is taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling
from woolgather.engines.vllm.interpreter import find_interpreter
from woolgather.models.embedded import embedded_model
from woolgather.prompting.messages import Message
from woolgather.runs import provenance

SETTINGS = {"max_model_len": 1024, "max_num_seqs": 256, "kv_cache_memory_bytes": 1 << 30}
SEED = 7


def measure(way: str, engine: Engine, requests: list[Request]) -> float:
    """Returns the tokens per second; prints them with the seconds of the start."""
    began = time.perf_counter()
    list(engine.complete(requests[:2]))
    ready = time.perf_counter()
    tokens = sum(completion.completion_tokens for _, completion in engine.complete(requests))
    seconds = time.perf_counter() - ready
    print(
        f"{way}: ready after {ready - began:.1f} s; {tokens} tokens in {seconds:.1f} s, "
        f"{tokens / seconds:.1f} /s",
        flush=True,
    )
    return tokens / seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", required=True)
    options.add_argument("--python", default="")
    options.add_argument("--model", default="")
    options.add_argument("--adapter", default="")
    options.add_argument("--prompts", type=int, default=64)
    options.add_argument("--tokens", type=int, default=64)
    asked = options.parse_args()

    seeds = list(read_examples(builtin_seeds()))
    how = {"temperature": 0.8, "top_p": 0.95, "max_tokens": asked.tokens}
    requests = [
        Request(
            (Message("user", seeds[i % len(seeds)].instruction),), Sampling(**how, seed=SEED + i)
        )
        for i in range(asked.prompts)
    ]
    found = find_interpreter(asked.python)
    path = asked.model or str(embedded_model())
    child = EngineOptions("vllm", python=found.python, dtype="float32", args=SETTINGS)
    server = EngineOptions("openai", urls=(asked.url,), concurrency=256)
    print(provenance.hardware())
    print(", ".join(f"{name} {version}" for name, version in found.packages), "|", path)

    def run(way: str, folder: str, how: EngineOptions) -> float:
        model = Model(folder, "benchmark", "chat")
        with (
            tempfile.TemporaryDirectory() as place,
            closing(open_engine(model, how, Path(place) / "engine.log")) as engine,
        ):
            return measure(way, engine, requests)

    over_http = run("server", path, server)
    in_child = run("child", path, child)
    if asked.adapter:
        with_adapter = EngineOptions(
            "openai", urls=(asked.url,), adapter=asked.adapter, concurrency=256
        )
        run("server, adapter", asked.adapter, with_adapter)
        run("child, adapter", asked.adapter, child)
    print(f"ratio {over_http / in_child:.2f}")


if __name__ == "__main__":
    main()
