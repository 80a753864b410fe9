from collections import Counter
from dataclasses import replace

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.rows import Example, Verdict, answered_turns
from woolgather.ops.curate.mix import MixOptions, RowLimits, mix, shuffle, token_counter
from woolgather.prompting.turns import messages_of

FAKE = Model("fake", fingerprint="fake")


ALONE = ("Nothing but seeds", "error")


def row(n: int, response: str = "an answer", **fields) -> Example:
    return Example(instruction=f"task {n}", response=response, id=f"r{n}", **fields)


def seed_row(n: int) -> Example:
    return Example(instruction=f"seed {n}", response="given", id=f"s{n}", meta={"origin": "seed"})


def mixed(
    kept, seeds=(), replay=(), *, earlier=(), max_length=50, max_rows=None, choose="random",
    **settings,
):  # fmt: skip
    limits = RowLimits(max_length=max_length, max_rows=max_rows, choose=choose)
    generator = mix([*earlier, kept], seeds, replay, limits=limits, **{"base": FAKE, **settings})
    rows, views = [], []
    while True:
        try:
            rows.append(next(generator))
        except StopIteration as stop:
            views = stop.value
            break
    used = [r for r in rows if r.set_aside is None]
    aside = {r.id: r.set_aside for r in rows if r.set_aside}
    return used, aside, views


def test_the_seeds_stay_in_and_everything_is_shuffled_alike_for_one_seed():
    kept, seeds = [row(n) for n in range(20)], [seed_row(n) for n in range(5)]
    used, aside, _ = mixed(kept, seeds, seed=1)
    assert {r.id for r in used} == {r.id for r in kept} | {r.id for r in seeds}
    assert not aside
    assert used == mixed(kept, seeds, seed=1)[0]
    assert used != mixed(kept, seeds, seed=2)[0]
    assert [r.id for r in used] != [r.id for r in kept + seeds]


def test_seeds_can_be_left_out_or_repeated():
    kept, seeds = [row(1)], [seed_row(1), seed_row(2)]
    assert [r.id for r in mixed(kept, seeds, options=MixOptions(seeds=False))[0]] == ["r1"]
    used = mixed(kept, seeds, options=MixOptions(seed_repeats=3))[0]
    assert Counter(r.instruction for r in used) == {"task 1": 1, "seed 1": 3, "seed 2": 3}
    copies = [r for r in used if not r.id]
    assert {r.parents for r in copies} == {("s1",), ("s2",)}
    assert all(r.meta["origin"] == "seed" for r in copies)


@pytest.mark.parametrize(
    ("kept", "told"),
    [([[row(1)]], 0), ([[]], 1), ([[row(1, "")]], 1), ([], 0)],
)
def test_an_alarm_tells_when_nothing_of_its_own_is_left(kept, told):
    seeds = [seed_row(1), seed_row(2)]
    made = mix(kept, seeds, base=Model("fake"), limits=RowLimits(max_length=50))
    views = []

    def rows():
        views.extend((yield from made))

    assert list(rows())
    alarms = [view for view in views if view.kind == "alarm"]
    assert [(view.title, view.data["level"]) for view in alarms] == [ALONE] * told


def test_rows_that_are_too_long_or_empty_are_set_aside_whole():
    long = row(1, response="word " * 60)
    used, aside, _ = mixed([long, row(2, response="  "), row(3)])
    assert [r.id for r in used] == ["r3"]
    assert aside == {"r1": "too_long", "r2": "empty"}


def test_the_bound_is_on_machine_rows_and_shows():
    kept, seeds = [row(n) for n in range(20)], [seed_row(n) for n in range(5)]
    used, aside, views = mixed(kept, seeds, max_rows=8)
    assert Counter(r.meta.get("origin") for r in used) == {None: 8, "seed": 5}
    assert Counter(aside.values()) == {"over_max_rows": 12}
    assert views[0].data["stages"] == [
        ["machine rows", 20],
        ["of these used", 8],
        ["with seeds", 13],
    ]
    assert views[0].data["reasons"] == {"over_max_rows": 12}
    assert views[1].data["rows"] == [["machine", 8], ["seed", 5]]


def test_the_bound_may_leave_the_first_rows():
    kept = [row(n, response="word " * 60) if n < 2 else row(n) for n in range(20)]
    used, aside, _ = mixed(kept[10:], earlier=[kept[:10]], max_rows=8, choose="first")
    assert {r.id for r in used} == {f"r{n}" for n in range(2, 10)}
    assert Counter(aside.values()) == {"over_max_rows": 10, "too_long": 2}
    assert [r.id for r in used] != sorted(r.id for r in used), "in a mixed order all the same"
    assert {r.id for r in mixed(kept, max_rows=8)[0]} != {r.id for r in used}


def test_a_row_too_long_does_not_take_a_place_under_the_bound():
    kept = [row(n, response="word " * 60) for n in range(10)] + [row(n) for n in range(10, 14)]
    used, aside, _ = mixed(kept, max_rows=4)
    assert {r.id for r in used} == {"r10", "r11", "r12", "r13"}
    assert set(aside.values()) == {"too_long"}


def scored(n: int, score: float | None, response: str, name: str = "quality") -> Example:
    return Example(
        instruction=f"task {n}", response=response, id=response, verdicts={name: Verdict(score)}
    )


@pytest.mark.parametrize(
    ("old", "new", "wins"),
    [
        (scored(1, 9, "old"), scored(1, 8, "new"), "old"),
        (scored(1, 8, "old"), scored(1, 9, "new"), "new"),
        (scored(1, 8, "old"), scored(1, 8, "new"), "new"),
        (scored(1, 8, "old"), scored(1, None, "new"), "old"),
        (scored(1, 9, "old", name="other"), scored(1, 1, "new"), "new"),
    ],
)
def test_one_row_a_prompt_the_better_or_else_the_later(old, new, wins):
    used, aside, _ = mixed([new], earlier=[[old]])
    assert [r.id for r in used] == [wins]
    assert list(aside.values()) == ["repeated_prompt"]
    both = mixed([new], earlier=[[old]], options=MixOptions(one_per_prompt=False))[0]
    assert {r.id for r in both} == {"old", "new"}


def test_an_input_makes_another_prompt():
    rows = [row(1), Example(instruction="task 1", input="x", response="y", id="with-input")]
    assert len(mixed(rows)[0]) == 2


def test_turns_before_the_response():
    plain, system = row(1), row(2, system="be brief")
    assert [m.role for m in messages_of(plain)] == ["user"]
    assert messages_of(system)[0] == ("system", "be brief")


def test_tokens_are_counted_as_the_model_is_trained(tiny_model):
    from woolgather.prompting.renderer import Renderer

    example = row(1, response="the quick brown fox")
    ids, _ = Renderer(tiny_model).training_ids(messages_of(example), example.response)
    length = token_counter(Model(str(tiny_model)))(example)
    assert length == len(ids)
    exact = mixed([example], base=Model(str(tiny_model)), max_length=length)
    short = mixed([example], base=Model(str(tiny_model)), max_length=length - 1)
    assert exact[1] == {}
    assert short[1] == {"r1": "too_long"}


def test_a_row_over_the_positions_of_the_model_is_set_aside(tiny_model):
    base = Model(str(tiny_model))  # it has 512
    long, short = row(1, response="the quick brown fox " * 60), row(2)
    assert 512 < token_counter(base)(long) < 1024
    used, aside, _ = mixed([long, short], base=base, max_length=1024)
    assert [r.id for r in used] == ["r2"]
    assert aside == {"r1": "too_long"}


def test_the_plan_says_how_many():
    kept, seeds = [row(n) for n in range(20)], [seed_row(n) for n in range(5)]
    how = {"base": FAKE, "options": MixOptions()}
    assert mix.expects([kept], seeds, limits=RowLimits(max_length=9), **how).rows == 25
    limits = RowLimits(max_length=9, max_rows=8)
    assert mix.expects([kept, kept], seeds, limits=limits, **how).rows == 13


@pytest.mark.parametrize("kept", [[], [row(1, response=" ")]])
def test_training_on_seeds_alone_is_told(kept: list[Example]):
    _, _, views = mixed(kept, [seed_row(1)])
    assert (views[0].kind, views[0].title, views[0].data["level"]) == (
        "alarm", "Nothing but seeds", "error",
    )  # fmt: skip
    assert mixed([row(1)], [seed_row(1)])[2][0].kind != "alarm"


def own(n: int, response: str = "an answer", **fields) -> Example:
    meta = {"origin": "replay", "place": f"own.jsonl, line {n}"}
    return Example(instruction=f"own {n}", response=response, id=f"replay-{n}", meta=meta, **fields)


def replaying(share: float = 0.5, **more) -> MixOptions:
    return MixOptions(replay="own.jsonl", replay_share=share, **more)


def replayed(used):
    return [row for row in used if row.id.startswith("replay-")]


def test_replayed_rows_have_their_share_of_the_tokens():
    kept, seeds = [row(n) for n in range(6)], [seed_row(n) for n in range(2)]
    long = "word " * 13 + "end"  # a row of 17 tokens beside eight rows of five and four
    used, aside, views = mixed(kept, seeds, [own(n, long) for n in range(9)], options=replaying())
    tokens = token_counter(FAKE)
    theirs, all_of = sum(map(tokens, replayed(used))), sum(map(tokens, used))
    assert [row.id for row in replayed(sorted(used, key=lambda r: r.id))] == [
        "replay-0", "replay-1", "replay-2",
    ]  # fmt: skip
    assert 0.5 <= theirs / all_of <= 0.5 + 17 / all_of
    assert not aside
    assert views[0].data["stages"] == [
        ["machine rows", 6], ["of these used", 6], ["with seeds", 8], ["with replay", 11],
    ]  # fmt: skip
    assert views[1].data["rows"] == [["machine", 6], ["replay", 3], ["seed", 2]]
    assert views[1].note == f"{theirs / all_of:.0%} of the training tokens are replayed."


def test_a_share_that_the_rows_do_not_come_to_is_told_and_none_is_repeated():
    used, _, views = mixed([row(n) for n in range(20)], (), [own(1), own(2)], options=replaying())
    assert len(replayed(used)) == 2
    assert (views[0].title, views[0].data["level"]) == ("Replay falls short", "note")
    assert "9.1% of the training tokens; mix.replay_share asks for 50%" in views[0].data["text"]


def test_a_small_mix_replays_the_first_rows_of_a_larger_one():
    """So that a control sees no other rows of the user's than the method does."""
    rows = [own(n) for n in range(40)]
    small = mixed([row(n) for n in range(5)], (), rows, options=replaying(0.3), seed=1)[0]
    large = mixed([row(n) for n in range(25)], (), rows, options=replaying(0.3), seed=2)[0]
    few, many = ({r.id for r in replayed(used)} for used in (small, large))
    assert few < many
    assert len(many) == pytest.approx(5 * len(few), abs=4)


def test_replayed_rows_yield_and_are_set_aside_like_others():
    same = Example(instruction="task 1", response="theirs", id="replay-same")
    seed = Example(instruction="seed 1 ", response="theirs", id="replay-seed")
    rows = [same, seed, own(1), own(1), own(2, " "), own(3, "word " * 60), own(4)]
    used, aside, _ = mixed([row(1), row(2)], [seed_row(1)], rows, options=replaying(0.9))
    assert {r.id for r in used} == {"r1", "r2", "s1", "replay-1", "replay-4"}
    assert aside == {
        "replay-same": "repeated_prompt", "replay-seed": "repeated_prompt",
        "replay-1": "repeated_prompt", "replay-2": "empty", "replay-3": "too_long",
    }  # fmt: skip
    every = mixed([row(1)], (), rows, options=replaying(0.9, one_per_prompt=False))[0]
    assert Counter(r.instruction for r in every)["task 1"] == 2


def test_the_bound_on_machine_rows_counts_no_replayed_ones():
    used, aside, _ = mixed(
        [row(n) for n in range(9)], (), [own(1)], max_rows=3, options=replaying()
    )
    assert (len(used), len(replayed(used)), len(aside)) == (4, 1, 6)


def test_the_plan_counts_replayed_rows():
    kept, rows = [row(n) for n in range(30)], [own(n) for n in range(100)]
    how = {"base": FAKE, "limits": RowLimits(max_length=9), "options": replaying(0.25)}
    assert mix.expects([kept], [], rows, **how).rows == 40
    assert mix.expects([kept], [], rows[:4], **how).rows == 34


def test_a_share_needs_rows():
    with pytest.raises(ConfigError, match=r"mix\.replay=FILE"):
        MixOptions(replay_share=0.3)


def test_shuffling_follows_the_random_seed():
    rows = [own(n) for n in range(20)]
    assert list(shuffle(rows, seed=1)) == list(shuffle(rows, seed=1)) != list(shuffle(rows, seed=2))
    assert sorted(shuffle(rows, seed=1), key=lambda r: rows.index(r)) == rows


def talk(n: int, *later: str) -> Example:
    """A row of several turns."""
    said = [f"task {n}", "an answer", *later]
    roles = ("user", "assistant") * len(said)
    turns = [{"role": r, "content": t} for r, t in zip(roles, said, strict=False)]
    return replace(row(n), meta={"conversation": turns})


def test_several_turns_are_mixed_and_counted_whole():
    short, long = talk(1, "and then?", "then nothing"), talk(2, "and then?", "word " * 60)
    assert token_counter(FAKE)(short) == 2 + 2 + 2 + 2 + 1
    used, aside, views = mixed([short, row(3)], [long], options=MixOptions(seed_repeats=2))
    assert short in used
    assert aside == {"r2": "too_long"}, "set aside whole, not cut to its first turn"
    assert views[1].note == "Rows of several turns: 1."
    twice = mixed([row(3)], [short], options=MixOptions(seed_repeats=2))[0]
    assert [len(answered_turns(r)) for r in twice if r.instruction == "task 1"] == [4, 4]
