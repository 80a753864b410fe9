"""Signs of drift in the answers to harmless tasks: another assistant's name, a refusal, another language.

The one idea: a model that trains on what it wrote itself may take on habits that no pass rate names. Each
sign is read by a plain rule from the answers that were given anyway, and says something beside the
base's share alone. The rules are rough, and know refusals and names in English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from woolgather.core.rows import JSON, Example, question
from woolgather.engines.base import Completion
from woolgather.ops.measure.degeneration import share
from woolgather.ops.measure.outcomes import Outcomes
from woolgather.ops.measure.tax.language import leaves_language
from woolgather.ops.text.ask import no_reply

DRIFT = {
    "identity": "answers that name a maker or another assistant",
    "refusals": "refusals of harmless tasks",
    "language": "answers in another language than the task's",
}
"""Signs of drift, as they stand among a measure's values and items, and their names."""
_ONLY_NAMES = (
    r"Chat-?GPT|GPT-?[3-5]\w*|OpenAI|Anthropic|DeepMind|Google AI|Meta AI|Mistral AI|LMSYS|Vicuna|"
    r"Qwen\w*|Alibaba Cloud|DeepSeek|Hugging ?Face|SmolLM\w*|"
    r"EleutherAI|Moonshot AI|Zhipu|InternLM|ChatGLM\w*"
)
"""Assistants and makers whose names mean nothing else."""
_ANY_NAMES = (
    rf"{_ONLY_NAMES}|Claude|Gemini|Gemma|Bard|Llama|Alpaca|Copilot|Grok|Falcon|Mistral|Phi|Google|Meta|"
    r"Microsoft|Amazon|Apple|Alibaba|Tencent|Baidu|NVIDIA|Cohere|Stanford"
)
_NAME = re.compile(rf"\b(?:{_ONLY_NAMES})\b")
_CLAIM = re.compile(
    rf"\b(?:I am|I['’]m|[Mm]y name is) (?:an? |the )?(?:{_ANY_NAMES})\b"
    r"|\b(?:I am|I was|I['’]m|[Aa]ssistant|[Mm]odel)\b[^.\n]{0,60}"
    rf"\b(?:made|created|trained|developed|built) by (?:[\w ]{{0,20}} )?(?:{_ANY_NAMES})\b"
)
"""Other names count where the model speaks of itself."""
_OPENING = 240
"""Characters at the beginning of an answer in which a refusal stands."""
_CANNOT = r"(?:can(?:not|['’]t| not)|(?:am|['’]m) (?:unable|not able)|won['’]t|must decline)"
_REFUSAL = re.compile(
    rf"\b(?:sorry|apologi[sz]e|afraid|unfortunately|regret)\b[^\n.!?]{{0,60}}\bI ?{_CANNOT}\b"
    rf"|^\W*(?:(?:I am|I['’]m) (?:so |very )?sorry\W+)?I ?{_CANNOT} (?:to )?"
    r"(?:help|assist|answer|provide|give|do|comply|fulfil|write|complete|"
    r"generate|create|engage|discuss|respond|share|perform|offer|continue|support)\w*\b"
    rf"|^\W*as an? (?:ai|artificial|language|large language|text)\b[^\n]{{0,100}}"
    rf"\bI ?(?:{_CANNOT}|do not|don['’]t|am not|have no)\b",
    re.I,
)
_EXCUSED = re.compile(r"\b(?:sorry|apolog\w*|excus\w*|refus\w*|declin\w*|reject\w*|unable)\b", re.I)
"""Tasks that may want words which elsewhere refuse."""


def names_assistant(task: str, answer: str) -> bool | None:
    """Returns whether an answer names a maker or another assistant; None where the task does so."""
    if _NAME.search(task):
        return None
    return bool(_NAME.search(answer) or _CLAIM.search(answer))


def refuses(task: str, answer: str) -> bool | None:
    """Returns whether an answer begins with a refusal; None where the task asks for an excuse."""
    if _EXCUSED.search(task):
        return None
    return bool(_REFUSAL.search(answer[:_OPENING]))


RULES: Mapping[str, Callable[[str, str], bool | None]] = {
    "identity": names_assistant,
    "refusals": refuses,
    "language": leaves_language,
}
"""By sign: whether it is in an answer to a task; None where the task leaves that open."""


def read_drift(
    names: Sequence[str], tasks: Sequence[Example], answers: Sequence[Completion]
) -> tuple[dict[str, JSON], dict[str, Outcomes]]:
    """Returns by sign the share of the answers that have it, in [0, 1], and the outcome of each item: 1
    or 0, None without an answer or where the task, or its reference, leaves it open."""
    items: dict[str, Outcomes] = {
        sign: {
            name: _outcome(rule, task, answer)
            for name, task, answer in zip(names, tasks, answers, strict=True)
        }
        for sign, rule in RULES.items()
    }
    return {sign: share(found.values()) for sign, found in items.items()}, items


def _outcome(
    rule: Callable[[str, str], bool | None], task: Example, answer: Completion
) -> float | None:
    if no_reply(answer):
        return None
    asked = question(task)
    if task.response and rule(asked, task.response):
        return None
    found = rule(asked, answer.text)
    return None if found is None else float(found)
