"""Dromedary's files: shards of principled replies, the answers merged from them, and identity rows.

A shard holds replies as they were generated: a thought, an answer, and whatever the model wrote on.
They are cut and left out as their own script does when it merges, each reason by the name that it has
in our own steps.
"""

from __future__ import annotations

import re
from dataclasses import replace

from woolgather.core.rows import Example
from woolgather.data.fields import Fields, Record
from woolgather.data.published.layout import Layout, Part
from woolgather.data.shapes import GOOD

_SCRIPT = (
    "IBM/Dromedary, training/step2_principle_driven_self_alignment/"
    "merge_and_fileter_self_align_with_dummy.py"
)
_SELF = "I am a helpful, ethical, and reliable assistant."
_ANSWER, _USER, _END = "\n\nWatson:", "\n\nUser:", "\n\n### User\n"
_SHORTEST = 160
"""Characters of a finished answer, with the mark of its end."""
_LONG = 16
"""Characters above which a prompt that stands in its answer is copied, not named."""
_LEAKS = re.compile(
    "User:|Good job! Clear context|Watson \\(auto reply\\):|provide more details or context so|"
    "[Pp]resident|Zhiqing|孙之清|1, 1, 4|weather|or by watching the news|[Aa]lpaca|[Bb]irthday party"
)
"""Words of the examples in their prompt."""
_NAMES = re.compile(r"\bWatson\b|\bDromedary\b|\bSelf-Align team\b")
_TEAM = re.compile(r"(?:the )?Large Model Systems Organization(?: \(LMSYS\))?|\bLMSYS\b")
_VICUNA = re.compile(r"\bVicuna\b")
_CLAUSE = re.compile(r"(?<=[\n.?!;:,`])")
_REASONS = {
    "other_name": "it names another assistant; rows that say who ours is come from identity.file",
}


def _read_shard(fields: Fields, part: Part) -> Example:
    prompt = replace(fields, origin="machine").example(fields.text("instruction"), "")
    material = fields.material()
    thought, said, rest = fields.text("output", may_lack=True).partition(_ANSWER)
    answer, turned, _ = _before_repeat(rest.strip()).partition(_USER)
    answer = answer.strip() if turned else answer.rpartition(" ")[0]
    reason = None
    if not thought.lstrip().startswith(_SELF):
        reason = "no_thought"
    elif not said:
        reason = "no_answer"
    elif turned and len(answer + _END) < _SHORTEST:
        reason = "too_short"
    elif any(len(t) > _LONG and t in answer for t in (prompt.instruction, material)):
        reason = "copies_prompt"
    elif _LEAKS.search(answer):
        reason = "exemplar_leak"
    elif not answer:
        reason = "empty"
    elif _NAMES.search(answer):
        reason = "other_name"
    long = len(material) > _LONG  # then the instruction only says how to answer it
    return replace(
        prompt,
        instruction=material if long else prompt.instruction,
        input="" if long else material,
        response=answer,
        finish_reason="stop" if turned else "length",
        set_aside=reason,
        meta={**prompt.meta, "thought": thought.strip()},
    )


def _before_repeat(text: str) -> str:
    """Returns the text up to the first clause that it has said before."""
    clauses: dict[str, None] = {}
    kept = []
    for clause in _CLAUSE.split(text):
        if clause in clauses and clause.strip("\n.?!;:,`"):
            break
        clauses[clause] = None
        kept.append(clause)
    return "".join(kept).strip()


def _read_merged(fields: Fields, part: Part) -> Example:
    answer = fields.text("output")
    ended = answer.rstrip().endswith(_END.strip())
    row = replace(fields, origin="machine").example(
        fields.text("instruction"),
        answer.rstrip().removesuffix(_END.strip()).strip(),
        fields.material(),
    )
    dummy = "example_id" not in fields or _NAMES.search(row.response)
    reason = "other_name" if dummy else None
    return replace(row, finish_reason="stop" if ended else "length", set_aside=reason)


def _read_identity(fields: Fields, part: Part) -> Example:
    row = fields.talk(fields.require("conversations"), "from", "value")
    texts = [row.instruction, row.response]
    if not any(_VICUNA.search(text) or _TEAM.search(text) for text in texts):
        return row
    if part != "identity":
        return replace(row, set_aside="other_name")
    asked, answer = (
        _VICUNA.sub("{{name}}", _TEAM.sub("the team that made me", text)) for text in texts
    )
    return replace(row, instruction=asked, response=answer, meta={**row.meta, "renamed": True})


def _is_shard(record: Record) -> bool:
    reply = record.get("output")
    return (
        isinstance(reply, str)
        and "instruction" in record
        and (_ANSWER in reply or reply.lstrip().startswith(_SELF))
    )


SHARDS = Layout(
    name="dromedary-shards",
    source="IBM/Dromedary, training/step2_principle_driven_self_alignment/"
    "generate_self_align_response.py; cut and filtered as by merge_and_fileter_self_align_with_dummy.py",
    becomes={
        "instruction": "instruction, unless there is an input of more than 16 characters",
        "input": "input; of more than 16 characters: the instruction",
        "output": "the thought to meta.thought; the answer, cut at its first repeated clause and at "
        "the next user turn, to the response",
    },
    good='{"instruction": "...", "input": "", "output": "the thought\\n\\nWatson: the answer"}',
    fits=_is_shard,
    read=_read_shard,
    reasons={
        "no_thought": "the reply does not begin as a thought does",
        "no_answer": "no answer follows the thought",
        "too_short": f"a finished answer of less than {_SHORTEST} characters",
        "copies_prompt": "the answer holds its own prompt",
        "exemplar_leak": "the answer has words of the examples that were shown",
        "empty": "nothing of the answer is left",
        **_REASONS,
    },
)
MERGED = Layout(
    name="dromedary-merged",
    source=_SCRIPT,
    becomes={
        "example_id": "tells an answer; rows without one say who Dromedary is",
        "instruction": "instruction",
        "input": "input",
        "output": "response, without the mark of its end; an answer without the mark was cut",
    },
    good='{"example_id": 1, "instruction": "...", "input": "", "output": "...\\n\\n### User\\n"}',
    fits=lambda record: {"example_id", "instruction", "output"} <= record.keys(),
    read=_read_merged,
    reasons=_REASONS,
)
IDENTITY = Layout(
    name="dromedary-identity",
    source="IBM/Dromedary, training/dummy_data/vicuna_dummy_data.json",
    becomes={
        "conversations": "first question and answer; where they name Vicuna or its makers, the "
        "assistant's own name in their place"
    },
    good=GOOD["sharegpt"],
    fits=lambda record: "conversations" in record and str(record.get("id")).startswith("identity_"),
    read=_read_identity,
    reasons={
        "other_name": "it names Vicuna; as identity.file such rows take the assistant's own name",
        "renamed": "it named Vicuna, and takes the assistant's own name",
    },
)
