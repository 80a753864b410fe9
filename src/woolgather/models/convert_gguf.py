"""Turns a GGUF file into a plain Hugging Face directory: bfloat16 safetensors, tokenizer, template.

Run as a program (`python -m woolgather.models.convert_gguf FILE.gguf OUT`), so that its memory and its
imports are gone when it is done. The weights are those of the quantised file, dequantised: they
carry its rounding, and the model card says so. It serves the embedded model and studies; a general
converter it is not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.core.children import watch_parent
from woolgather.core.rows import JSON

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CARD = """---
license: {license}
---
# {name}

Converted by woolgather from `{file}`. The weights are the dequantised values of that quantised
file, stored in bfloat16: they carry its rounding and differ slightly from the original model's.
"""


def convert(source: Path, out: Path) -> None:
    """Writes the model in the GGUF file `source` as a Hugging Face directory `out`.

    Single digits are split off where the file's pre-tokenizer says "smollm".
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    facts = _facts(source)
    where = {"gguf_file": source.name, "local_files_only": True}
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(str(source.parent), **where)
    _mend_tokenizer(tokenizer, facts)
    # In bfloat16 the reader leaves some tensors of another type behind.
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        str(source.parent), dtype=torch.float32, **where
    )
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = source.stem
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    # A model that was loaded quantised refuses to be saved; one of the same shape does not.
    fresh: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict(loaded.state_dict())
    fresh.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    fresh.save_pretrained(out)
    tokenizer.save_pretrained(out)
    card = CARD.format(
        license=facts.get("general.license", "other"), name=config._name_or_path, file=source.name
    )
    (out / "README.md").write_text(card, encoding="utf-8")


def _facts(source: Path) -> dict[str, JSON]:
    """Returns the file's scalar metadata, by their names in the GGUF format."""
    from gguf import GGUFReader

    fields = GGUFReader(str(source)).fields
    return {name: field.contents() for name, field in fields.items() if len(field.data) == 1}


def _mend_tokenizer(tokenizer: PreTrainedTokenizerFast, facts: dict[str, JSON]) -> None:
    from tokenizers import pre_tokenizers

    inner = tokenizer.backend_tokenizer
    if facts.get("tokenizer.ggml.pre") == "smollm":
        split = pre_tokenizers.Digits(individual_digits=True)
        inner.pre_tokenizer = pre_tokenizers.Sequence([split, inner.pre_tokenizer])
    length = facts.get(f"{facts.get('general.architecture')}.context_length")
    if isinstance(length, int) and length:
        tokenizer.model_max_length = length


if __name__ == "__main__":
    watch_parent()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
