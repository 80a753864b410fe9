"""Models that tests share: a tiny random one made in a second, and the embedded real one.

torch and transformers are imported only when a test asks for a model.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Before torch is imported: threads that wait by spinning are slow beside other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What is printed shall not depend on the terminal the tests were started from.
os.environ["COLUMNS"] = "200"
for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
    os.environ.pop(name, None)

TEXT = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps in the warm sun all day.",
    "user system assistant: write a list of three things and say what is in the list.",
    "One two three four five six seven eight nine ten. Yes or no? Score: 8 of 10.",
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def save_tokenizer(path: Path, specials: list[str], **settings: object) -> int:
    """A byte-level tokenizer of about 300 tokens in `path`; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(TEXT, trainer)
    PreTrainedTokenizerFast(tokenizer_object=inner, **settings).save_pretrained(path)
    return int(inner.get_vocab_size())


def save_llama(path: Path, vocabulary: int, *, end: int, seed: int = 0, **settings: object) -> None:
    """A random two-layer llama in `path`, float32, 512 positions."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": end,
        "initializer_range": 0.3,
    }
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(**{**shape, **settings})).to(torch.float32).save_pretrained(path)
    torch.set_rng_state(generator_state)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer llama with a ChatML tokenizer of about 300 tokens, as a plain directory.

    `<|im_end|>` (id 2) is end of turn, end of text and padding; there is no start token.
    """
    path = tmp_path_factory.mktemp("tiny-model")
    vocabulary = save_tokenizer(
        path,
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )
    save_llama(path, vocabulary, end=2)
    return path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The embedded SmolLM2-135M-Instruct, converted once into the cache."""
    from woolgather.models import embedded

    if importlib.util.find_spec(embedded.PACKAGE) is None:
        pytest.skip(f"no embedded model: {embedded.INSTALL}")
    return embedded.embedded_model()


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """(size, bash script) -> what came of it: in the script "$disk" is a tmpfs of that size, "$python"
    our interpreter, and `grow SIZE` gives the disk another size. At the end the disk is gone.

    Skips where the system does not allow a tmpfs in a namespace of one's own.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    head = (
        f"disk='{disk}'; python='{sys.executable}'\n"
        'mount -t tmpfs -o size={size} tmpfs "$disk" || exit 99\n'
        'grow() {{ mount -o remount,size="$1" "$disk" || exit 98; }}\n'
    )

    def run(size: str, script: str) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "-rm", "bash", "-c", head.format(size=size) + script]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
        except FileNotFoundError:
            pytest.skip("no `unshare` here")
        assert done.returncode != 98, f"the disk did not grow: {done.stderr}"
        if done.returncode == 99 or "unshare failed" in done.stderr:
            pytest.skip(f"no tmpfs of one's own here: {done.stderr.strip()}")
        return done

    return run


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of I-SHEEP, two iterations on the fake engine. Copy it before you write to it."""
    import woolgather

    folder = tmp_path_factory.mktemp("fake-run") / "sheep"
    small = {"base": "fake", "iterations": 2, "measure.tasks": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # nothing here need outlive a power cut
        woolgather.run("isheep", preset="demo", engine="fake", dir=folder, settings=small)
    return folder
