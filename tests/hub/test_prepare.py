"""`woolgather prepare` from the hub, in small repositories laid out as the real ones are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from woolgather.data import read_examples

pytest.importorskip("datasets")

LONG = "a text of rather more than five words"


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def prepared(woolgather: Any, tmp_path: Path) -> Any:
    """(words) -> the rows written, and (before, after) by filter."""

    def run(name: str, *words: str) -> tuple[list[Any], dict[str, tuple[int, int]]]:
        done = woolgather("prepare", name, *words, "--out", "out.jsonl", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        out = tmp_path / "work" / "out.jsonl"
        assert told["rows"] == len(out.read_text().splitlines())
        counts = {
            f"{f['source']} {f['filter']}".strip(): (f["before"], f["after"])
            for f in told["filters"]
        }
        if name == "refinedweb":
            return [json.loads(line) for line in out.read_text().splitlines()], counts
        return list(read_examples(out, needs_response=name != "dromedary2-prompts")), counts

    return run


OASST1_CARD = b"""---
license: apache-2.0
dataset_info:
  features:
  - name: message_id
    dtype: string
  - name: parent_id
    dtype: string
  - name: text
    dtype: string
  - name: role
    dtype: string
  - name: lang
    dtype: string
  - name: rank
    dtype: int32
  - name: labels
    sequence:
    - name: name
      dtype: string
    - name: value
      dtype: float64
    - name: count
      dtype: int32
  splits:
  - name: train
    num_examples: 7
  - name: validation
    num_examples: 2
---
"""


def message(id_: str, parent: str | None = None, quality: float = 0.8, **more: Any) -> Any:
    return {
        "message_id": id_,
        "parent_id": parent,
        "text": f"{LONG}, {id_}",
        "role": "assistant" if parent else "prompter",
        "lang": "en",
        "rank": None,
        "labels": {"name": ["spam", "quality"], "value": [0.0, quality], "count": [3, 3]},
        **more,
    }


def oasst1(parquet: Any) -> Mapping[str, bytes]:
    """Tables of messages in `data`, and beside them whole conversations that are not to be read."""
    train = [
        message("a"),
        message("a1", "a", quality=0.9, rank=1),
        message("a0", "a", quality=0.7, rank=0),
        message("b", quality=0.5),
        message("b0", "b", rank=0),
        message("c", lang="es"),
        message("c0", "c", lang="es", rank=0),
    ]
    held_out = [message("x"), message("x0", "x", quality=0.6, rank=0)]
    tree = {"message_tree_id": "t", "prompt": {**message("t"), "replies": [message("t0")]}}
    return {
        "README.md": OASST1_CARD,
        "2023-04-12_oasst_all.trees.jsonl.gz": gzip.compress(lines([tree])),
        "2023-04-12_oasst_ready.messages.jsonl.gz": gzip.compress(lines(train)),
        "data/train-00000-of-00001-b42a775f407cee45.parquet": parquet(train),
        "data/validation-00000-of-00001-134b8fd0c89408b6.parquet": parquet(held_out),
    }


def test_oasst1(hub: Any, prepared: Any, parquet: Any) -> None:
    hub.publish("datasets/OpenAssistant/oasst1", oasst1(parquet))
    rows, counts = prepared("oasst1")
    assert [(row.id, row.response) for row in rows] == [
        (name, f"{LONG}, {name}") for name in ("a0", "x0", "b0")
    ]
    assert rows[0].meta["quality"] == [0.8, 0.7]
    assert counts == {
        "english": (9, 7),
        "first question": (7, 3),
        "english replies": (4, 4),
        "ranked first": (4, 3),
        "best 3,200": (3, 3),
    }
    assert hub.sent(".gz") == 0


WEB_CARD = b"""---
dataset_info:
  features:
  - name: content
    dtype: string
  - name: url
    dtype: string
  - name: timestamp
    dtype: timestamp[s]
  - name: dump
    dtype: string
  - name: segment
    dtype: string
  - name: image_urls
    sequence:
      sequence: string
  splits:
  - name: train
    num_examples: 6
---
"""


def test_refinedweb_is_read_only_as_far_as_needed(hub: Any, prepared: Any, parquet: Any) -> None:
    def page(text: str) -> dict[str, Any]:
        more = {"timestamp": None, "dump": "CC-MAIN-2018-05", "segment": "1"}
        return {"content": text, "url": "http://x.org", **more, "image_urls": [["a.png", "a"]]}

    good = "\n".join(["x" * 99] * 12)
    shards = [[page("short"), page(good), page(good + "\nMenu")], [page(good)], [page(good)]]
    names = [f"data/train-{i:05}-of-00003-b8fc5348cbe605a5.parquet" for i in range(3)]
    files = {name: parquet(shard) for name, shard in zip(names, shards, strict=True)}
    hub.publish("datasets/tiiuae/falcon-refinedweb", {"README.md": WEB_CARD, **files})
    rows, counts = prepared("refinedweb", "--rows", "2")
    assert [row["text"] for row in rows] == [good, good]
    assert rows[0]["url"] == "http://x.org"
    assert len({row["id"] for row in rows}) == 2
    assert counts == {"length of an answer": (4, 3), "whole lines": (3, 2), "first 2": (2, 2)}
    assert hub.sent(names[1]) > 0
    assert hub.sent(names[2]) == 0


CHAT_CARD = b"""---
configs:
- config_name: default
  data_files:
  - split: train_sft
    path: data/train_sft-*
  - split: test_sft
    path: data/test_sft-*
  - split: train_gen
    path: data/train_gen-*
dataset_info:
  config_name: default
  features:
  - name: prompt
    dtype: string
  - name: prompt_id
    dtype: string
  - name: messages
    list:
    - name: content
      dtype: string
    - name: role
      dtype: string
  splits:
  - name: train_sft
    num_examples: 4
---
"""


def test_ultrachat(hub: Any, prepared: Any, parquet: Any) -> None:
    def talk(name: str, *said: str) -> dict[str, Any]:
        roles = ("user", "assistant") * 2
        turns = [{"content": text, "role": role} for text, role in zip(said, roles, strict=False)]
        return {"prompt": said[0], "prompt_id": name, "messages": turns}

    train = [talk(f"p{i}", f"question {i}", f"answer {i}", "and?", "so.") for i in range(3)]
    files = {
        "data/train_sft-00000-of-00001.parquet": parquet([*train, talk("q", "nobody answers")]),
        "data/test_sft-00000-of-00001.parquet": parquet([talk("t", "test", "test")]),
        "data/train_gen-00000-of-00001.parquet": parquet([talk("g", "gen", "gen")]),
    }
    hub.publish("datasets/HuggingFaceH4/ultrachat_200k", {"README.md": CHAT_CARD, **files})
    rows, counts = prepared("ultrachat")
    assert [(r.id, r.instruction, r.response) for r in rows] == [
        (f"p{i}", f"question {i}", f"answer {i}") for i in range(3)
    ]
    assert counts == {"asked and answered": (4, 3), "50,000 at random": (3, 3)}
    assert hub.sent(list(files)[2]) == 0


def four(hub: Any, parquet: Any) -> None:
    """The sources of Dromedary-2, with the files that lie beside those that are read."""

    def share(name: str, *turns: tuple[str, str]) -> dict[str, Any]:
        return {"id": name, "conversations": [{"from": f, "value": v} for f, v in turns]}

    first = [share("a_0", ("human", "how are\u200b you?"), ("gpt", "Fine.")), share("b_0")]
    second = [share("a_7", ("human", "and what then?"), ("gpt", "More."))]
    folder = "HTML_cleaned_raw_dataset"
    files = {
        "README.md": b"---\nlicense: apache-2.0\n---\n",
        "ShareGPT_V3_unfiltered_cleaned_split.json": json.dumps(first * 9).encode(),
        f"{folder}/sg_90k_part1.json": json.dumps(first, indent=2).encode(),
        f"{folder}/sg_90k_part2.json": json.dumps(second, indent=2).encode(),
        f"{folder}/sg_90k_part1_html_cleaned.json": json.dumps([{"id": "z", "items": []}]).encode(),
    }
    hub.publish("datasets/anon8231489123/ShareGPT_Vicuna_unfiltered", files)
    turns = [{"from": "human", "markdown": "and *why*?"}, {"from": "gpt", "markdown": "So."}]
    files = {
        "README.md": b"# sharegpt\n",
        "data/train-00000-of-00001.parquet": parquet([{"id": "1", "conversations": turns}]),
    }
    hub.publish("datasets/zetavg/ShareGPT-Processed", files)
    dolly = {"context": "", "response": "White.", "category": "open_qa"}
    asked = [{"instruction": "Name the colour.", **dolly}, {"instruction": "Word", **dolly}]
    files = {"README.md": b"# dolly\n", "databricks-dolly-15k.jsonl": lines(asked)}
    hub.publish("datasets/databricks/databricks-dolly-15k", files)
    hub.publish("datasets/OpenAssistant/oasst1", oasst1(parquet))
    orca = {"id": "niv.1", "system_prompt": "Be verbose.", "response": "ok"}
    files = {
        "1M-GPT4-Augmented.parquet": parquet([{**orca, "question": "Why is that?"}]),
        "3_5M-GPT3_5-Augmented.parquet": parquet([{**orca, "question": "how are you?"}]),
    }
    hub.publish("datasets/Open-Orca/OpenOrca", {"README.md": b"# orca\n", **files})


def test_the_four_sources_of_dromedary2(hub: Any, prepared: Any, parquet: Any) -> None:
    four(hub, parquet)
    rows, counts = prepared("dromedary2-prompts")
    assert [(row.meta["source"], row.instruction) for row in rows] == [
        ("sharegpt", "and *why*?"),
        ("sharegpt", "how are you?"),
        ("dolly", "Name the colour."),
        *[("openassistant", f"{LONG}, {name}") for name in "abc"],
        ("openorca", "Why is that?"),
    ]
    assert counts["sharegpt asks first"] == (4, 2)
    assert counts["dolly 2 to 256 words"] == (2, 1)
    assert counts["openassistant asks first"] == (3, 3)
    assert counts["openorca not there yet"] == (1, 1)
    unread = ("_split.json", "html_cleaned.json", "GPT3_5-Augmented.parquet")
    assert [hub.sent(name) for name in unread] == [0, 0, 0]


def test_a_source_at_a_revision(hub: Any, prepared: Any, parquet: Any) -> None:
    hub.publish("datasets/me/mine", oasst1(parquet), name="v1")
    hub.publish("datasets/me/mine", {"README.md": b"empty"})
    rows, _ = prepared("oasst1", "me/mine@v1")
    assert [row.id for row in rows] == ["a0", "x0", "b0"]
    commit = next(iter(hub.repositories["datasets/me/mine"].commits))
    assert len(prepared("oasst1", f"me/mine@{commit}")[0]) == 3


@pytest.mark.parametrize(
    ("name", "refused", "said"),
    [
        ("me/none", None, ["no data set of this name, or does not show it", "hf auth login"]),
        ("me/mine@nope", None, ["no revision 'nope'", "me/mine@<revision>"]),
        ("me/mine", (401, "GatedRepo", "restricted"), ["terms", "/datasets/me/mine)"]),
        ("me/mine", None, ["row 1", "message_id", "A good one"]),
    ],
)
def test_what_the_hub_does_not_give_leaves_no_file_and_names_the_remedy(
    hub: Any, woolgather: Any, told: Any, tmp_path: Path, name: str, refused: Any, said: list[str]
) -> None:
    hub.publish("datasets/me/mine", {"a.jsonl": lines([{"instruction": "Say yes."}])})
    if refused:
        hub.refuse("datasets/me/mine", *refused)
    done = woolgather("prepare", "oasst1", name)
    assert done.returncode == 2
    message = told(done)
    for words in said:
        assert words in message
    if refused:
        assert message.endswith("--local-dir mine; woolgather prepare oasst1 mine")
    assert list((tmp_path / "work").iterdir()) == []
