from collections import Counter

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example, Verdict
from woolgather.ops.curate.mix import MixOptions, RowLimits, mix, token_counter
from woolgather.prompting.turns import messages_of

FAKE = Model("fake", fingerprint="fake")


ALONE = ("Nothing but seeds", "error")


def row(n: int, response: str = "an answer", **fields) -> Example:
    return Example(instruction=f"task {n}", response=response, id=f"r{n}", **fields)


def seed_row(n: int) -> Example:
    return Example(instruction=f"seed {n}", response="given", id=f"s{n}", meta={"origin": "seed"})


def mixed(kept, seeds=(), *, earlier=(), max_length=50, max_rows=None, choose="random", **settings):
    limits = RowLimits(max_length=max_length, max_rows=max_rows, choose=choose)
    generator = mix([*earlier, kept], seeds, limits=limits, **{"base": FAKE, **settings})
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
