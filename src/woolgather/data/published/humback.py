"""Humback's files: replies of a model with what it was asked, and pairs with their scores.

One script writes the replies of every stage, so what `prompt` and `response` are is seen from what was
asked: a text (the reply is its instruction), a pair to be rated (the reply has its score), or a
question of a test set.
"""

from __future__ import annotations

import re
from dataclasses import replace

from woolgather.core.rows import Example, Verdict
from woolgather.data.fields import Fields, Record
from woolgather.data.published.layout import Layout, Part, number, verdict

_SCORE = re.compile(r"[Ss]core:\s*(\d+)$")
"""Their strict reading, with which m1_v2.jsonl was made."""
_LEVELS = (1, 5)
_SEED = {"instruction_quality", "response_quality"}


def _read_reply(fields: Fields, part: Part) -> Example:
    fields, raw = replace(fields, origin="machine"), fields.inner("raw")
    if "generated_instruction" in raw:
        reply = fields.text("response", may_lack=True)
        found = _SCORE.search(reply)
        score = verdict(float(found[1]) if found else None, *_LEVELS, reply)
        row = replace(fields, origin="backtranslated").example(
            raw.text("generated_instruction", may_lack=True).strip(), raw.text("response")
        )
        return _rate(row, score)
    asked, reply = fields.text("prompt"), fields.text("response", may_lack=True)
    if raw.record.get("instruction") == asked:
        return _complete(fields.example(asked, reply.strip()))
    return _complete(replace(fields, origin="backtranslated").example(reply.strip(), asked))


def _read_prompt(fields: Fields, part: Part) -> Example:
    fields = replace(fields, origin="backtranslated")
    asked = fields.text("generated_instruction", may_lack=True).strip()
    return _complete(fields.example(asked, fields.text("response")))


def _read_row(fields: Fields, part: Part) -> Example:
    seed = fields.record.keys() >= _SEED
    origin = "seed" if seed else "backtranslated"
    asked = fields.text("instruction", may_lack=not seed)
    row = replace(fields, origin=origin).example(
        asked if seed else asked.strip(), fields.text("response")
    )
    if seed:
        return replace(row, set_aside="seed") if part == "made" else row
    row = _rate(row, verdict(number(fields, "score"), *_LEVELS))
    return row if part == "made" else replace(row, set_aside="curated")


def _rate(row: Example, score: Verdict) -> Example:
    return _complete(replace(row, verdicts={"curation": score}))


def _complete(row: Example) -> Example:
    return row if row.instruction and row.response else replace(row, set_aside="empty")


def _fits_row(record: Record) -> bool:
    has = record.keys()
    return {"instruction", "response"} <= has and (
        has >= _SEED or (len(has) == 3 and "score" in has)
    )


REPLIES = Layout(
    name="humback-replies",
    source="Spico197/Humback, src/core/predict_vllm.py",
    becomes={
        "raw": "what was asked about: of a pair to be rated the pair itself",
        "full_prompt": "not read",
        "prompt": "of a text: the response; of a test question: the instruction",
        "response": "of a text: the instruction; of a pair: the verdict curation; else the response",
    },
    good='{"raw": {"content": "..."}, "full_prompt": "...", "prompt": "the text", "response": "its '
    'instruction"}',
    fits=lambda record: {"raw", "prompt", "response"} <= record.keys(),
    read=_read_reply,
    reasons={"empty": "the model said nothing"},
)
CURATION_PROMPTS = Layout(
    name="humback-curation-prompts",
    source="Spico197/Humback, src/core/build_curation_dataset.py",
    becomes={
        "prompt": "not read: the question to the curator",
        "generated_instruction": "instruction",
        "response": "response",
    },
    good='{"prompt": "...", "generated_instruction": "...", "response": "..."}',
    fits=lambda record: {"prompt", "generated_instruction", "response"} <= record.keys(),
    read=_read_prompt,
    reasons={"empty": "no instruction was found"},
)
ROWS = Layout(
    name="humback-rows",
    source="Spico197/Humback, data/seed/convert.py and src/core/filter_curation_results.py; m1.jsonl "
    "is both, one after the other",
    becomes={
        "instruction": "instruction",
        "response": "response",
        "score": "the verdict curation, of the rows that were curated",
        "instruction_quality": "tells a seed; not read",
        "response_quality": "tells a seed; not read",
    },
    good='{"instruction": "...", "response": "...", "score": 5}',
    fits=_fits_row,
    read=_read_row,
    once=True,
    reasons={
        "seed": "seeds are given as seeds=, and are mixed in once",
        "curated": "what a model found is no seed: give it as the result of a step, as in --given "
        "iter0/keep=FILE, or take the field 'score' out to use it as seeds all the same",
        "empty": "no instruction was found",
    },
)
