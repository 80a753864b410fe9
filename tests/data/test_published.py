"""Files in the layouts of the methods' own repositories: the right rows, or one clear message."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, PreferencePair
from woolgather.data import read_examples, read_pairs
from woolgather.data.published import LAYOUTS

from .shared import file

TEXT = "The mill has worked since 1802. It grinds rye, and its wheel is turned by the pond."
LONG = f"{TEXT} In dry years the miller opens the sluice at night, and by day he rests. His sieve is old."
SELF = "I am a helpful, ethical, and reliable assistant."


def talk(asked: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


def spin(number: int, generated: str | None = None) -> dict[str, Any]:
    asked = f"Question {number}?"
    said = f"machine {number}" if generated is None else generated
    return {"real": talk(asked, f"people {number}"), "generated": talk(asked, said)}


def rows_of(source: Any, **how: Any) -> tuple[list[Example], Counter[str], list[str]]:
    """The rows in use, reasons of the others, and what was told."""
    told: list[str] = []
    rows = list(read_examples(source, tell=told.append, **how))
    used = [row for row in rows if row.set_aside is None]
    return used, Counter(row.set_aside for row in rows if row.set_aside), told


def made(source: Any) -> tuple[list[Example], Counter[str], list[str]]:
    return rows_of(source, needs_response=False, part="made")


def test_every_line_of_the_table_is_whole_and_its_good_line_is_of_its_layout():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    for layout in LAYOUTS:
        assert "/" in layout.source
        assert layout.becomes
        if layout.name not in ("spin", "dromedary-identity"):  # these show it in short
            record = json.loads(layout.good)
            assert next(x for x in LAYOUTS if x.fits(record)) is layout
            assert set(record) <= set(layout.becomes)


# -- SPIN ------------------------------------------------------------------------------------------


def test_spin_records_are_seeds_by_their_real_side(tmp_path):
    reformatted = file(tmp_path, "train.jsonl", [spin(0, ""), spin(1, "")])
    rows, reasons, told = rows_of(reformatted)
    assert [(r.instruction, r.response) for r in rows] == [
        ("Question 0?", "people 0"),
        ("Question 1?", "people 1"),
    ]
    assert not reasons
    assert rows[0].meta["origin"] == "seed"
    assert told == [
        f"{reformatted}: layout spin (uclaml/SPIN, spin/reformat.py and spin/generate.py); 2 of 2 "
        "rows are used"
    ]


def test_spin_records_are_answers_by_their_generated_side(tmp_path):
    path = file(tmp_path, "loser_0.jsonl", [spin(0), spin(1, " "), spin(0)])
    rows, reasons, _ = made(path)
    assert [(r.instruction, r.response) for r in rows] == [("Question 0?", "machine 0")]
    assert rows[0].meta["origin"] == "machine"
    assert reasons == {"empty": 1, "repeated": 1}
    with pytest.raises(InputError, match=r"holds no rows .*: empty 1 \(nothing was generated\)"):
        made(file(tmp_path, "empty.jsonl", [spin(0, "")]))


def test_spins_folder_of_the_hub(tmp_path):
    folder = tmp_path / "SPIN_iter0"
    (folder / "data").mkdir(parents=True)
    file(folder / "data", "train-00000-of-00001.jsonl", [spin(0)])
    file(folder / "data", "test-00000-of-00001.jsonl", [spin(1)])
    told: list[str] = []
    (pair,) = read_pairs(folder, tell=told.append)
    assert (pair.chosen, pair.rejected) == ("people 0", "machine 0")
    assert told[0] == (
        f"{folder}: left out test-00000-of-00001.jsonl: it is for measuring, and never trained on"
    )
    assert [row.response for row in rows_of(folder)[0]] == ["people 0"]


def test_of_generated_shards_the_numbered_ones_are_read_in_order_and_each_pair_once(tmp_path):
    for number in (0, 2, 10):
        file(tmp_path, f"loser_{number}.jsonl", [spin(number), spin(99)])
    file(tmp_path, "loser_0_test.jsonl", [spin(7)])
    file(tmp_path, "synthetic_train.json", json.dumps([spin(0), spin(2)]))
    file(tmp_path, "synthetic_test.json", json.dumps([spin(7)]))
    told: list[str] = []
    pairs = list(read_pairs(tmp_path, tell=told.append))
    used = [p.chosen for p in pairs if p.set_aside is None]
    assert used == ["people 0", "people 99", "people 2", "people 10"]
    assert Counter(p.set_aside for p in pairs if p.set_aside) == {"repeated": 2}
    assert told[:2] == [
        f"{tmp_path}: left out loser_0_test.jsonl, synthetic_test.json: it is for measuring, and never "
        "trained on",
        f"{tmp_path}: left out synthetic_train.json: it holds the rows of the shards again",
    ]
    assert told[2].endswith("4 of 6 rows are used; repeated 2 (the same is there before)")


def test_repeated_pairs_of_any_shape_are_used_once(tmp_path):
    pair = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    told: list[str] = []
    pairs = list(read_pairs(file(tmp_path, "p.jsonl", [pair, pair]), tell=told.append))
    assert [p.set_aside for p in pairs] == [None, "repeated"]
    assert told == [
        f"{tmp_path / 'p.jsonl'}: 1 of 2 rows are used; repeated 1 (the same is there before)"
    ]


# -- Humback ---------------------------------------------------------------------------------------


def reply(raw: Any, prompt: str, response: str) -> dict[str, Any]:
    return {"raw": raw, "full_prompt": "...", "prompt": prompt, "response": response}


def test_humbacks_augmentation_is_read_the_right_way_round(tmp_path):
    records = [reply({"content": TEXT}, TEXT, " Tell me of the mill. "), reply({}, TEXT, "")]
    (row,), reasons, _ = made(file(tmp_path, "unlabelled_gen_instruction.jsonl", records))
    assert (row.instruction, row.response) == ("Tell me of the mill.", TEXT)
    assert row.meta["origin"] == "backtranslated"
    assert reasons == {"empty": 1}


def test_humbacks_other_replies_are_known_by_what_was_asked(tmp_path):
    pair = {"prompt": "...", "generated_instruction": "Tell me of the mill.", "response": TEXT}
    rated = reply(pair, "Rate this.", "It answers well.\nScore: 5")
    unread = reply(pair, "Rate this.", "Score: 5, as said above")
    rows, _, _ = made(file(tmp_path, "results.jsonl", [rated, unread]))
    assert (rows[0].instruction, rows[0].response) == ("Tell me of the mill.", TEXT)
    assert [row.verdicts["curation"].score for row in rows] == [5.0, None]
    asked = {"dataset": "helpful_base", "instruction": "Why?"}
    (row,), _, _ = made(file(tmp_path, "eval.jsonl", [reply(asked, "Why?", "Because.")]))
    assert (row.instruction, row.response, row.meta["origin"]) == ("Why?", "Because.", "machine")
    (row,), _, _ = made(file(tmp_path, "prompts.jsonl", [pair]))
    assert (row.instruction, row.response) == ("Tell me of the mill.", TEXT)


def curated(number: int, score: int | None = 5) -> dict[str, Any]:
    return {"instruction": f"Of mill {number}?", "response": f"{number}. {TEXT}", "score": score}


def seed(number: int) -> dict[str, Any]:
    asked = {"instruction": f"Seed {number}?", "instruction_quality": 0.75}
    return {**asked, "response": f"People {number}.", "response_quality": 0.9}


def test_humbacks_scores_become_verdicts(tmp_path):
    path = file(tmp_path, "mid.jsonl", [curated(0), curated(1, None), curated(2, 10502)])
    rows, _, _ = made(path)
    assert [row.verdicts["curation"].score for row in rows] == [5.0, None, None]
    with pytest.raises(
        InputError, match=r"m\.jsonl, line 2: field 'score' is missing\. A good one"
    ):
        made(file(tmp_path, "m.jsonl", [curated(0), {"instruction": "Q", "response": "A"}]))
    for score, said in (("five", "'five'"), (True, "true"), ([5], "a list")):
        with pytest.raises(InputError, match=f"line 1: field 'score' is {said}, no number"):
            made(file(tmp_path, "n.jsonl", [{**curated(0), "score": score}]))
    rows, _, _ = made(file(tmp_path, "t.csv", "instruction,response,score\nQ,A,4\nR,B,\n"))
    assert [row.verdicts["curation"].score for row in rows] == [4.0, None]


def test_m1_is_split_by_kind_and_holds_no_seed_twice(tmp_path):
    records = [curated(0), curated(1), seed(0), seed(1), seed(0)]
    path = file(tmp_path, "m1.jsonl", records)
    rows, reasons, told = made(path)
    assert [row.instruction for row in rows] == ["Of mill 0?", "Of mill 1?"]
    assert {row.meta["origin"] for row in rows} == {"backtranslated"}
    assert reasons == {"seed": 3}
    assert "seed 3 (seeds are given as seeds=, and are mixed in once)" in told[-1]
    rows, reasons, told = rows_of(path)
    assert [row.instruction for row in rows] == ["Seed 0?", "Seed 1?"]
    assert reasons == {"curated": 2, "repeated": 1}
    with pytest.raises(InputError, match=r"curated 1 \(what a model found is no seed: give it as"):
        rows_of(file(tmp_path, "curated.jsonl", [curated(0)]))


# -- I-SHEEP ---------------------------------------------------------------------------------------


def written(number: int, output: str = "", **more: Any) -> dict[str, Any]:
    return {"instruction": f"Task {number}", "input": "", "output": output, **more}


def test_isheeps_scores_become_two_verdicts(tmp_path):
    scores = {"quality_score": 9, "following_score": 10, "quality_eval": "9||good"}
    records = [written(0, "A", **scores), written(1, "B", **{**scores, "quality_score": -1})]
    path = file(tmp_path, "evaluated.json", json.dumps(records))
    rows, _, _ = made(path)
    assert {n: (v.score, v.text) for n, v in rows[0].verdicts.items()} == {
        "quality": (9.0, "9||good"),
        "following": (10.0, ""),
    }
    assert rows[1].verdicts["quality"].score is None
    with pytest.raises(InputError, match="line 1: field 'following_score' is missing"):
        made(file(tmp_path, "half.jsonl", [written(0, "A", quality_score=9)]))


def test_isheeps_instructions_and_answers(tmp_path):
    found = {"avg_similarity_score": 0.3, "ppl": None, "cluster_id": -1}
    (row,), _, _ = made(file(tmp_path, "d0_10k.jsonl", [written(0, **found)]))
    assert (row.instruction, row.response, row.meta["origin"]) == ("Task 0", "", "machine")
    (row,), _, _ = made(file(tmp_path, "d0_10k_output.jsonl", [written(0, "A", **found)]))
    assert row.response == "A"


# -- Dromedary -------------------------------------------------------------------------------------


def shard(answer: str, thought: str = SELF, asked: str = "What is a mill?") -> dict[str, Any]:
    output = f" {thought} The user asks.\n\nWatson: {answer}"
    return {"instruction": asked, "input": "", "output": output}


def test_dromedarys_shards_are_split_cut_and_filtered_by_name(tmp_path):
    turn = "\n\nUser: and then?\n\nWatson: More."
    records = [
        {"instruction": "Lost", "input": "", "output": "no thought at all"},
        shard(LONG + turn),
        shard("So. First this. Then that. First this. Again."),
        shard("Short." + turn),
        shard(LONG + turn, thought="Well."),
        {"instruction": "Thought", "input": "", "output": f"{SELF} And nothing else."},
        shard(f"You ask: What is a mill, then? {LONG}{turn}", asked="What is a mill, then?"),
        shard(f"The weather first. {LONG}{turn}"),
        shard(f"I am Watson. {LONG}{turn}"),
    ]
    path = file(tmp_path, "llama2_70b_self_align_32shards_0.jsonl", records)
    rows, reasons, told = made(path)
    assert [row.finish_reason for row in rows] == ["stop", "length"]
    assert rows[0].response == LONG
    assert rows[0].meta["thought"] == f"{SELF} The user asks."
    assert (
        rows[1].response == "So. First this. Then"
    )  # cut at what was said before, and the last word
    assert reasons == {
        "no_thought": 2,
        "too_short": 1,
        "no_answer": 1,
        "copies_prompt": 1,
        "exemplar_leak": 1,
        "other_name": 1,
    }
    assert "no_answer 1 (no answer follows the thought)" in told[-1]


def test_dromedarys_long_input_is_the_instruction(tmp_path):
    record = {**shard(f"{LONG}\n\nUser: x"), "input": "A question that stands by itself?"}
    (row,), _, _ = made(file(tmp_path, "s.jsonl", [record]))
    assert (row.instruction, row.input) == ("A question that stands by itself?", "")


def test_dromedarys_merged_answers_lose_the_mark_of_their_end(tmp_path):
    records = [
        written(0, "Who made me? I am Dromedary."),  # an identity row, mixed in
        {"example_id": 1, **written(1, "An answer.\n\n### User\n")},
        {"example_id": 2, **written(2, "An answer that was")},
        {"example_id": 3, **written(3, "Ask Dromedary.\n\n### User\n")},
    ]
    rows, reasons, _ = made(file(tmp_path, "merged.json", json.dumps(records)))
    assert [(r.response, r.finish_reason) for r in rows] == [
        ("An answer.", "stop"),
        ("An answer that was", "length"),
    ]
    assert reasons == {"other_name": 2}


def test_identity_rows_take_the_assistants_own_name(tmp_path):
    said = "My name is Vicuna, made by Large Model Systems Organization (LMSYS)."
    turns = [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": said}]
    plain = [{"from": "human", "value": "Are you a human?"}, {"from": "gpt", "value": "No."}]
    records = [
        {"id": "identity_0", "conversations": turns},
        {"id": "identity_1", "conversations": plain},
    ]
    path = file(tmp_path, "vicuna_dummy_data.json", json.dumps(records))
    rows, reasons, told = rows_of(path, part="identity")
    assert [row.response for row in rows] == [
        "My name is {{name}}, made by the team that made me.",
        "No.",
    ]
    assert not reasons
    assert told[-1].endswith("renamed 1 (it named Vicuna, and takes the assistant's own name)")
    rows, reasons, _ = rows_of(path)
    assert [row.response for row in rows] == ["No."]
    assert reasons == {"other_name": 1}


# -- whole inputs ----------------------------------------------------------------------------------


def test_two_layouts_in_one_folder_are_refused_and_by_name_they_are_read(tmp_path):
    file(tmp_path, "a.jsonl", [seed(0)])
    file(tmp_path, "b.jsonl", [spin(0)])
    with pytest.raises(InputError) as caught:
        list(read_examples(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'b.jsonl'}, line 1: is of layout spin, and the files before it in {tmp_path} are "
        "humback-rows. Give one layout at a time: the files by name, with commas between them, or a "
        "folder for each."
    )
    both = f"{tmp_path / 'a.jsonl'}, {tmp_path / 'b.jsonl'}"
    for source in (both, [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]):
        assert [r.response for r in rows_of(source)[0]] == ["People 0.", "people 0"]


def test_rows_of_several_files_of_one_name_have_ids_of_their_own(tmp_path):
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(file(tmp_path / name, "train.jsonl", [spin(len(name) + len(paths))]))
    assert [row.id for row in read_examples(paths)] == ["train-1", "two-train-1"]
    assert [pair.id for pair in read_pairs(paths)] == ["train-1", "two-train-1"]


@pytest.mark.parametrize("cut", ["jsonl", "json", "gz", "parquet"])
def test_a_shard_that_is_cut_in_the_middle_is_said(tmp_path: Path, cut: str) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    text = "".join(json.dumps(spin(n)) + "\n" for n in range(300))
    path = tmp_path / f"loser_0.{'jsonl.gz' if cut == 'gz' else cut}"
    if cut == "parquet":
        pq.write_table(pa.Table.from_pylist([spin(n) for n in range(300)]), path)
        whole = path.read_bytes()
    elif cut == "json":
        whole = json.dumps([spin(n) for n in range(300)]).encode()
    else:
        whole = gzip.compress(text.encode()) if cut == "gz" else text.encode()
    path.write_bytes(whole[: len(whole) // 2])
    message = {
        "jsonl": r"line \d+: not valid JSON: .*The file ends in the middle of this record\. Get it",
        "json": r"line 1: not valid JSON: .*The file ends in the middle of this record\. Get it",
        "gz": r"loser_0\.jsonl\.gz: is not a complete gzip file .*Get it again",
        "parquet": "is not a complete Parquet file",
    }[cut]
    with pytest.raises(InputError, match=message):
        list(read_pairs(path))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_packed_files_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    import gzip

    line = {"instruction": "Q", "output": "A"}
    texts = {
        "jsonl": json.dumps(line),
        "json": json.dumps([line], indent=1),
        "csv": "instruction,output\nQ,A\n",
    }
    path = tmp_path / f"seeds.{suffix}.gz"
    path.write_bytes(gzip.compress(texts[suffix].encode()))
    for source in (path, tmp_path):
        (row,) = read_examples(source)
        assert (row.instruction, row.response) == ("Q", "A")
        assert row.id == {"jsonl": "seeds-1", "json": "seeds-2", "csv": "seeds-2"}[suffix]
    (tmp_path / f"seeds.{suffix}").write_text(texts[suffix])
    rows, _, told = rows_of(tmp_path)
    assert len(rows) == 1
    assert told == [f"{tmp_path}: left out {path.name}: it is there unpacked"]


def test_a_data_set_of_the_hub_gives_its_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(repo: str, **how: Any) -> Any:
        asked.append((repo, how))
        return [spin(0)]

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert [row.response for row in rows_of("UCLA-AGI/SPIN_iter0@v1")[0]] == ["people 0"]
    assert list(read_pairs("UCLA-AGI/SPIN_iter0")) == [
        PreferencePair(
            id="SPIN_iter0-1",
            instruction="Question 0?",
            chosen="people 0",
            rejected="machine 0",
            meta={"origin": "seed"},
        )
    ]
    assert asked[0] == (
        "UCLA-AGI/SPIN_iter0",
        {"split": "train", "revision": "v1", "streaming": True},
    )


def test_a_name_that_the_hub_does_not_know_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    class DatasetNotFoundError(Exception):
        pass

    def load(repo: str, **how: Any) -> Any:
        raise DatasetNotFoundError(f"Dataset '{repo}' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError) as caught:
        list(read_examples("UCLA-AGI/SPIN_iterO"))
    assert str(caught.value).startswith(
        "UCLA-AGI/SPIN_iterO: no file or folder here, and the hub has no data set of this name"
    )


def test_what_may_be_a_path_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    file(tmp_path / "data", "seeds.jsonl", [seed(0)])
    with pytest.raises(
        InputError, match=r"data/seed: no such file\. Did you mean data/seeds\.jsonl"
    ):
        list(read_examples("data/seed"))
    with pytest.raises(InputError, match=r"other/seeds\.jsonl: no such file"):
        list(read_examples("other/seeds.jsonl"))
