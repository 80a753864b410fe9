"""The engine `vllm`, with journal and Parquet, against bare `LLM.generate` of the same vLLM.

    python benchmarks/vllm_ratio.py [--python PATH] [--model FOLDER] [--prompts 64] [--tokens 64]

Both write the same tokens after the same prompts (same ids, same seeds, same settings of vLLM), one
program after the other, each after a warm-up; starting is not counted. The bare one is this file, run by
the interpreter that has vLLM. What is printed at the end is the engine's tokens per second over the bare
ones'. Without --model the embedded 135M model is taken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SETTINGS = {"max_model_len": 1024, "max_num_seqs": 256, "enable_prefix_caching": True}
SEED = 7


def generate_bare(path: Path) -> None:
    """Runs in the other interpreter: the tokens per second of `LLM.generate`, as JSON on standard
    output's last line."""
    from vllm import LLM, SamplingParams

    told = json.loads(path.read_text(encoding="utf-8"))
    llm = LLM(**told["settings"])
    prompts = [{"prompt_token_ids": ids} for ids in told["prompts"]]
    params = [SamplingParams(**told["params"], seed=SEED + i) for i in range(len(prompts))]
    llm.generate(prompts[:2], params[:2], use_tqdm=False)
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--python", default="")
    options.add_argument("--model", default="")
    options.add_argument("--prompts", type=int, default=64)
    options.add_argument("--tokens", type=int, default=64)
    asked = options.parse_args()

    from woolgather.core.artifacts import Model
    from woolgather.core.children import environment
    from woolgather.core.rows import Example
    from woolgather.core.storage import write_rows
    from woolgather.data import builtin_seeds, read_examples
    from woolgather.engines import open_engine
    from woolgather.engines.base import EngineOptions, Request, Sampling, ask
    from woolgather.engines.journal import Journal, JournaledEngine
    from woolgather.engines.vllm.interpreter import child_environment, find_interpreter
    from woolgather.models.embedded import embedded_model
    from woolgather.prompting.messages import Message
    from woolgather.prompting.renderer import Renderer
    from woolgather.runs import provenance

    found = find_interpreter(asked.python)
    path = asked.model or str(embedded_model())
    seeds = list(read_examples(builtin_seeds()))
    tasks = [seeds[i % len(seeds)].instruction for i in range(asked.prompts)]
    sampling = {"temperature": 0.8, "top_p": 0.95, "max_tokens": asked.tokens}
    requests = [
        Request((Message("user", task),), Sampling(**sampling, seed=SEED + i))
        for i, task in enumerate(tasks)
    ]
    renderer = Renderer(path)
    # As the engine starts vLLM on a CPU (see engines/vllm/hosted.py).
    settings = {"enforce_eager": True, "enable_chunked_prefill": False, **SETTINGS}
    settings |= {"kv_cache_memory_bytes": 1 << 30}

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        told = folder / "told.json"
        bare = {"model": path, "dtype": "float32", "skip_tokenizer_init": True, **settings}
        params = {**sampling, "ignore_eos": True, "detokenize": False}
        params |= {"stop_token_ids": [*renderer.end_ids]}
        ids = [renderer.prompt_ids(request.prompt) for request in requests]
        told.write_text(json.dumps({"settings": bare, "params": params, "prompts": ids}))
        done = subprocess.run(
            [found.python, "-P", __file__, "--bare", str(told)],
            env={**environment(), **child_environment(found), "TORCHDYNAMO_DISABLE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        first = json.loads(done.stdout.strip().splitlines()[-1])

        engine_options = EngineOptions(
            name="vllm", python=found.python, dtype="float32", args=settings
        )
        model = Model(path, "benchmark", "chat")
        inner = open_engine(model, engine_options, folder / "engine.log")
        list(inner.complete(requests[:2]))
        journal = Journal(folder / "journal.sqlite")
        engine = JournaledEngine(model, journal, lambda: inner)
        tokens = 0

        def rows() -> Iterator[Example]:
            nonlocal tokens
            for task, completion in zip(tasks, ask(engine, requests), strict=True):
                tokens += completion.completion_tokens
                yield Example(id=task, instruction=task, response=completion.text)

        began = time.perf_counter()
        count = sum(1 for _ in write_rows(rows(), folder / "rows", "example"))
        seconds = time.perf_counter() - began
        inner.close()
        journal.close()

    assert count == len(tasks)
    ours, theirs = tokens / seconds, first["tokens"] / first["seconds"]
    print(provenance.hardware())
    print(", ".join(f"{name} {version}" for name, version in found.packages), "|", path)
    print(
        f"bare LLM.generate: {first['tokens']} tokens in {first['seconds']:.1f} s, {theirs:.1f} /s"
    )
    print(f"engine vllm with journal and Parquet: {tokens} in {seconds:.1f} s, {ours:.1f} /s")
    print(f"ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        generate_bare(Path(sys.argv[2]))
    else:
        main()
