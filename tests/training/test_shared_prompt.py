"""Both answers of a pair in one row: what a model says of their tokens, and learns, is the same."""

import pytest
import torch
import transformers
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from woolgather.training.worker import dpo
from woolgather.training.worker.shared_prompt import SharedPrompt, says_the_same, takes_masks

from .test_dpo import LORA, PAIRS, curves, run

pytestmark = pytest.mark.usefixtures("few_threads")
SMALL = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


def model_of(config: transformers.PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)
    outputs = ("log_probs", "entropy", "mean_logits", "is_top1")
    add_fused_lm_head(model, outputs=outputs)
    return model.eval()


def batch_of(pairs: list[dict]) -> tuple[dict, dict]:
    """What TRL's collator makes of pairs, and what the model is given of it."""
    batch = DataCollatorForPreference(pad_token_id=0)(pairs)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    given["labels"] = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    return batch, {**given, "use_cache": False, "fused_lm_head": True}


@pytest.mark.parametrize(
    "config",
    [
        transformers.LlamaConfig(**SMALL),
        transformers.Qwen3Config(**SMALL),
        transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    ],
    ids=lambda config: config.model_type,
)
def test_each_token_and_each_gradient_is_the_same(config):
    model = model_of(config)
    assert takes_masks(model.config)
    _, given = batch_of([*PAIRS[:5], dpo.BLANK])
    wanted = given["labels"][:, 1:] != -100
    found = []
    for form in (model, SharedPrompt(model)):
        output = form(**given)
        model.zero_grad()
        (output.log_probs * torch.linspace(-1, 1, wanted.size(0))[:, None]).sum().backward()
        found.append((output, [p.grad.clone() for p in model.parameters()]))
    (apart, first), (together, second) = found
    for name in ("log_probs", "entropy", "mean_logits"):
        assert torch.allclose(apart[name] * wanted, together[name], atol=2e-5), name
    assert torch.equal(apart.is_top1 & wanted, together.is_top1)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(first, second, strict=True))


def test_models_that_see_less_than_a_mask_allows_are_told_by_their_config():
    windows = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
    assert not takes_masks(model_of(transformers.Gemma3TextConfig(**SMALL, **windows)).config)
    assert not takes_masks(model_of(transformers.MistralConfig(**SMALL, sliding_window=4)).config)
    assert takes_masks(model_of(transformers.MistralConfig(**SMALL, sliding_window=None)).config)
    plain = transformers.LlamaConfig(**SMALL)
    plain._attn_implementation = "eager"
    assert not takes_masks(plain)


def test_a_model_that_does_not_take_the_mask_is_found_out(monkeypatch):
    model = model_of(transformers.LlamaConfig(**SMALL))
    batch, _ = batch_of(PAIRS[:1])
    assert says_the_same(model, batch)
    whole = model.forward

    def careless(attention_mask, **more):
        plain = attention_mask.ndim == 2
        return whole(attention_mask=attention_mask if plain else None, **more)

    monkeypatch.setattr(model, "forward", careless)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # a new model is nearly as surprised by any token
    assert not says_the_same(model, batch)

    def ignorant(attention_mask, **more):
        if attention_mask.ndim != 2:
            raise ValueError("two dimensions are wanted")
        return whole(attention_mask=attention_mask, **more)

    monkeypatch.setattr(model, "forward", ignorant)
    assert not says_the_same(model, batch)


@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
def test_what_is_learned_is_the_same(tiny_model, tmp_path, monkeypatch, lora):
    changes = {"lora": lora and lora.model_dump(), "epochs": 3, "learning_rate": 5e-4, "micro": 2}
    changes |= {"nll_weight": 0.5}
    seen = []
    shared = dpo.PairTrainer._can_share_prompts
    monkeypatch.setattr(
        dpo.PairTrainer, "_can_share_prompts", lambda self: seen.append(shared(self)) or seen[-1]
    )
    assert run(tmp_path / "together", tiny_model, **changes) == 0
    assert seen == [True]
    monkeypatch.setattr(dpo.PairTrainer, "_can_share_prompts", lambda self: False)
    assert run(tmp_path / "apart", tiny_model, **changes) == 0
    together, apart = curves(tmp_path / "together"), curves(tmp_path / "apart")
    assert len(together) == 9
    for name in ("loss", "margin", "real_logp", "generated_gain", "accuracy"):
        assert [row[name] for row in together] == pytest.approx(
            [row[name] for row in apart], rel=1e-3, abs=1e-3
        )
