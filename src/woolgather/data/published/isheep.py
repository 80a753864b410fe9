"""I-SHEEP's files: instructions it wrote, its answers to them, and its scores of both."""

from __future__ import annotations

from dataclasses import replace

from woolgather.core.rows import Example, Verdict
from woolgather.data.fields import Fields
from woolgather.data.published.layout import Layout, Part, number, verdict

_LEVELS = (1, 10)
_NAMES = ("quality", "following")


def _read_evaluated(fields: Fields, part: Part) -> Example:
    row = _read_generated(fields, part)
    return replace(row, verdicts={name: _verdict(fields, name) for name in _NAMES})


def _verdict(fields: Fields, name: str) -> Verdict:
    reply = fields.text(f"{name}_eval", may_lack=True)
    return verdict(number(fields, f"{name}_score"), *_LEVELS, reply)


def _read_generated(fields: Fields, part: Part) -> Example:
    fields = replace(fields, origin="machine")
    response = fields.text("output", may_lack=True)
    return fields.example(fields.text("instruction"), response, fields.material())


EVALUATED = Layout(
    name="isheep-evaluated",
    source="multimodal-art-projection/I-SHEEP, seed_ppl/evaluate_prompt_parameters.py",
    becomes={
        "instruction": "instruction",
        "input": "input",
        "output": "response",
        "quality_score": "the score of the verdict quality",
        "following_score": "the score of the verdict following",
        "quality_eval": "the text of the verdict quality, where it is there",
        "following_eval": "the text of the verdict following, where it is there",
    },
    good='{"instruction": "...", "input": "", "output": "...", "quality_score": 9, '
    '"following_score": 9}',
    fits=lambda record: not record.keys().isdisjoint({"quality_score", "following_score"}),
    read=_read_evaluated,
)
GENERATED = Layout(
    name="isheep-generated",
    source="multimodal-art-projection/I-SHEEP, seed_ppl/generate_instruction.py and "
    "seed_ppl/generate_output.py",
    becomes={
        "instruction": "instruction",
        "input": "input",
        "output": "response; empty until the answers are generated",
        "avg_similarity_score": "not read: novelty is measured anew",
        "ppl": "not read",
        "cluster_id": "not read",
    },
    good='{"instruction": "...", "input": "", "output": "...", "avg_similarity_score": 0.3}',
    fits=lambda record: {"instruction", "output", "avg_similarity_score"} <= record.keys(),
    read=_read_generated,
)
