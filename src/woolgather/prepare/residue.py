"""What web pages leave in a copied prompt: page numbers, buttons, and characters that nobody sees.

The kinds are those that IBM/Dromedary's clean_and_merge_prompts.py knows. Theirs also takes "1/2" for
a page, and everything before any "1 / 1"; here a page has spaces around its stroke and stands at an
end, or is glued to the text, so that fractions in a question stay.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff\ud800-\udfff]"
)
_MANY = re.compile(r"\n{3,}")
_LANGUAGES = "|".join(
    (
        "Arabic|Chinese|Czech|Danish|Dutch|English|Estonian|Finnish|French|German|Greek|Hebrew",
        "Hindi|Hungarian|Indonesian|Italian|Japanese|Korean|Latvian|Lithuanian|Norwegian|Persian",
        "Polish|Portuguese|Romanian|Russian|Slovak|Spanish|Swedish|Thai|Turkish|Ukrainian",
        "Vietnamese",
    )
)
_RESIDUE = tuple(
    re.compile(pattern, re.S)
    for pattern in (
        r"\A.*?(?<!\d)1 / 1(?=[^\W\d_])",  # a title and the page number before the prompt
        r"\A\d+ / \d+",
        r"\d+ / \d+\Z",
        r"지금 번역하기.*\Z",  # "translate now"
        r"\n \n Language: .*\Z",  # the chooser of a language, and all below it
        rf"\bLanguage: (?:{_LANGUAGES})(?: \((?:Simplified|Traditional)\))?\Z",
        r"Share Prompt\Z",
        r"Translate now\Z",
        r"\A~The following is a conversation with Bing, not ChatGPT\.~",
    )
)


def strip_residue(text: str) -> tuple[str, bool]:
    """Returns the text without what nobody wrote, and whether a page had left something in it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _MANY.sub("\n\n", _UNSEEN.sub("", text)).strip()
    found, before = False, None
    while text != before:  # one may stand behind another
        before = text
        for pattern in _RESIDUE:
            text = pattern.sub("", text).strip()
        found = found or text != before
    return text, found
