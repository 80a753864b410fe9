"""Which families report, which select, and which may make training rows, with the tier of each.

The one idea: what chooses a model never reports on it, and what trains one does neither. The sets are
sets of families, not of items, and families that ask for nearly the same skill stand in the same set,
so that a gain in one set says nothing of another by mere kinship.

The tiers: of an `easy` family a base of 270M parameters that is shown a few answered examples could
pass a fifth to four fifths; a `middle` one is for a billion and more, a `hard` one leaves room above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Purpose = Literal["report", "select", "train"]
Tier = Literal["easy", "middle", "hard"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
TIERS: tuple[Tier, ...] = get_args(Tier)

SETS: Mapping[Purpose, Mapping[Tier, str]] = {
    "report": {
        "easy": "opposite same_meaning capital plural fill_in list_k another category which_kind "
        "yes_no_kind sentiment extract_name extract_city who_has contain_word two_words question "
        "json_object",
        "middle": "past_tense comparative ing_form third_person calendar marked_list odd_one_out "
        "extract_date extract_price look_up uppercase lowercase title_case replace_word add subtract "
        "word_problem units sentence_count under_words avoid_word key_value",
        "hard": "multiply letter_case exact_words",
    },
    "select": {
        "easy": "true_false bigger_thing reason explain_thing copy first_letter same_letter note "
        "start_word end_item",
        "middle": "did_first largest_number which_number yes_no_number even_odd remove_item "
        "copy_brackets repeat sandwich end_word longest_word nth_item",
        "hard": "sort_words sort_numbers reverse_list",
    },
    "train": {
        "easy": "with_article fix_spelling append_word tips continue_from colour_of who_does used_for "
        "hot_or_cold past_or_future sentence_kind mentions",
        "middle": "negate to_question punctuate first_sentence own_lines digits_words count_words "
        "join next_number leg_count rhyme people_count ordinal same_text",
        "hard": "drop_last_word count_letters spell",
    },
}
PLACES: Mapping[str, tuple[Purpose, Tier]] = {
    name: (purpose, tier)
    for purpose, tiers in SETS.items()
    for tier, names in tiers.items()
    for name in names.split()
}
"""By family: what it is for, and how hard it is."""
