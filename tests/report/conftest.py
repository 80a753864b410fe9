"""A run directory made up for the report: two iterations, every kind of view, hostile texts.

`python tests/report/conftest.py FOLDER` writes one, to be looked at.
"""

import dataclasses
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from woolgather.core import views
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import Example, PreferencePair, Row, Verdict
from woolgather.core.storage import write_json, write_rows
from woolgather.runs.record import (
    METRICS,
    RunRecord,
    StepRecord,
    step_dir,
    write,
    write_launch,
    write_run,
)

NASTY = [
    "<script>window.pwned = 1</script></script><img src=x onerror=\"window.pwned='img'\">",
    "</script><script>document.title = 'pwned'</script>",
    "\u202eesrever ni daer si sihT",
    "اكتب جملة قصيرة عن البحر، ثم ترجمها إلى الإنجليزية.",
    "w" * 10_000,
    "Zwei Emoji: 👩‍👩‍👧‍👦 und 🏳️‍🌈, dann 𝔣𝔯𝔞𝔨𝔱𝔲𝔯.",
    "\x1b[31mred\x1b[0m bell\x07 nul\x00 end",
    "{{ 7 * 7 }} {% raw %} ${7*7} &lt;b&gt; ]]> <!-- --> \u2028 line",
    '"><svg/onload=alert(1)> javascript:alert(1)',
]
VERBS = [
    "Describe",
    "Name three facts about",
    "Write a short note on",
    "Explain to a child",
    "List",
]
TOPICS = [
    "how bread rises", "a lighthouse in winter", "the rules of chess", "why leaves fall",
    "a letter to a neighbour", "sorting a shelf of books", "the water cycle", "tuning a guitar",
    "crossing a river by ferry", "a recipe without sugar", "the oldest bridge in town", "tides",
]  # fmt: skip
ANSWERS = [
    "It starts slowly, and then there is no stopping it.",
    "First look at what is there. Then decide what may go, and write down why.",
    "There are three: one is plain, one is hidden, and one is only seen at night.",
    "Warm air makes it grow; cold air keeps it as it is. Patience does the rest.",
]
HEX = "0123456789abcdef"


class Builder:
    """Writes steps one after another and remembers them for the launch's record."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.entries: list[dict[str, str]] = []
        self.clock = 0
        folder.mkdir(parents=True, exist_ok=True)

    def identity(self, name: str) -> str:
        return fingerprint([name, self.random.random()])

    def step(
        self,
        name: str,
        kind: str,
        result: dict[str, object],
        shown: list[views.View] | None = None,
        rows: list[Row] | None = None,
        **more: object,
    ) -> list[Row]:
        identity = self.identity(name)
        path = step_dir(name, identity)
        folder = self.folder / path
        folder.mkdir(parents=True)
        if rows is not None:
            rows = [
                row if row.id else dataclasses.replace(row, id=f"{identity[:12]}-{i:06d}")
                for i, row in enumerate(rows)
            ]
            shape = "pair" if rows and isinstance(rows[0], PreferencePair) else "example"
            list(write_rows(rows, folder, shape))
            aside = Counter(row.set_aside for row in rows if row.set_aside)
            result = {"count": len(rows) - aside.total(), "rows": len(rows), "kind": shape}
            more["set_aside"] = dict(aside)
        if kind == "metrics":
            write_json(folder / METRICS, {"values": result["values"], "items": {}})
        seconds = self.random.uniform(0.2, 190)
        start = f"2025-03-0{1 + self.clock // 20}T09:{self.clock % 20:02d}:00+00:00"
        self.clock += 1
        record = StepRecord(
            step=name,
            op=f"woolgather.ops.{name.split('/')[-1].split('-')[0]}:op",
            fingerprint=identity,
            kind=kind,  # type: ignore[arg-type]
            payload=more.pop("payload", {"op": name, "args": {}}),
            result=result,
            seconds=seconds,
            started=start,
            finished=start,
            launch=1,
            views=[dataclasses.asdict(v) for v in shown or ()],
            **more,  # type: ignore[arg-type]
        )
        write(record, folder)
        self.entries.append(
            {"step": name, "fingerprint": identity, "path": path, "state": "ran",
             "why": "not done yet"}
        )  # fmt: skip
        return rows or []

    def finish(self, status: str = "finished", message: str = "") -> None:
        write_run(
            self.folder,
            {"recipe": "isheep", "date": "2025-03-01", "replicate": 0,
             "created": "2025-03-01T09:00:00+00:00", "title": self.folder.name},
        )  # fmt: skip
        hardware = {
            "system": "Linux x86_64", "processor": "Example CPU 3.1 GHz", "cores": 2,
            "memory_gib": 15.6, "gpus": [],
        }  # fmt: skip
        config = {
            "base": "/home/someone/models/smollm2-135m", "seeds": "", "iterations": 2,
            "keep": {"by": "threshold", "above": 7, "fraction": None}, "controls": True,
            "sft": {"learning_rate": 2e-4, "epochs": 2, "lora_rank": 16, "max_length": 1024},
            "respond": {"sampling": {"temperature": 0.7, "top_p": 0.95, "stop": ["</s>", "<b>"]}},
        }  # fmt: skip
        launch = RunRecord(
            launch=1,
            recipe="isheep",
            config=config,
            config_changes=["keep.above: 8 -> 7", "<i>odd</i>: 1 -> 2"],
            provenance={
                "woolgather": "0.1.0", "git": {"commit": "4f2c" * 10, "dirty": True},
                "argv": ["/usr/bin/woolgather", "run", "isheep", "base=./models/smollm2-135m",
                         "keep.above=7"],
                "python": "3.11.9", "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
                "hardware": hardware,
            },
            started="2025-03-01T09:00:00+00:00",
            finished="2025-03-01T09:41:30+00:00" if status != "running" else None,
            status=status,  # type: ignore[arg-type]
            steps=self.entries,
            result=next((f"{e['path']}/model" for e in self.entries if e["step"] == "result"), None),
            message=message,
        )  # fmt: skip
        write_launch(launch, self.folder)


def estimate(value: float, half: float) -> dict[str, float]:
    return {
        "value": value,
        "low": value - half,
        "high": value + half,
        "error": half / 2,
        "count": 300,
    }


def measured(b: Builder, name: str, probes: float) -> dict[str, object]:
    values = {
        "probe_seeds": [1, 2],
        "probes": estimate(probes, 0.028),
        "null": {"name": "constant", "rate": 0.101},
        "above_null": estimate(probes - 0.101, 0.031),
        "heldout": estimate(probes / 2.4, 0.07),
        "families": {f"family {i}": b.random.random() for i in range(20)},
        "stops": 0.62 + probes / 2,
        "loops": 0.2 - probes / 4,
        "distinct_2": 0.71,
        "nll": None if name == "measure" else 2.31,
        "win_rate": None,
    }
    rows = [
        ["probes above the best null answer", views.table_cell(values["above_null"], "points")],
        ["probes passed", views.table_cell(values["probes"], "percent")],
        ["goes round in circles", views.table_cell(0.2 - probes / 4, "percent")],
        ["win rate", "not measured"],
    ]
    sample = [["copy", f"Copy this: {t[:300]}", "", t[:400], "pass"] for t in NASTY[:6]]
    shown = [
        views.table("Measures", ["measure", "value"], rows, "Prompted: raw."),
        views.table("Some probes", ["family", "instruction", "input", "answer", "check"], sample),
    ]
    result = {"values": values, "headline": f"probes {100 * probes:.1f} %", "items_file": METRICS}
    b.step(name, "metrics", result, shown)
    return values


def model(name: str, rate: float, gain: object, held_out: float, length: object) -> list[object]:
    """A line of the table of models."""
    against = views.table_cell(gain, "points") if gain else ""  # type: ignore[arg-type]
    rates = views.table_cell(rate, "percent"), views.table_cell(held_out, "percent")
    return [name, rates[0], against, rates[1], length]


def iteration(b: Builder, t: int, seeds: list[Row], size: int) -> None:
    rng, scope = b.random, f"iter{t}"
    candidates = [
        [
            "rubric, read",
            views.table_cell(estimate(0.51, 0.05), "score"),
            0.02,
            0.97,
            "no better than length",
        ],
        ["yes/no", estimate(0.53, 0.05), -0.11, 1.0, "no better than overlap"],
        ["mutual information", estimate(0.94, 0.02), -0.06, 1.0, "hired"],
        ["control: word overlap", estimate(0.85, 0.03), 0.21, 1.0, "control"],
    ]
    b.step(
        f"{scope}/audition",
        "choice",
        {"value": {"assessor": {"kind": "mutual_information"}}, "why":
         "mutual_information is hired: AUC 0.94 [0.92, 0.96], above every control"},
        [
            views.table("Audition", ["assessor", "all, across", "length", "readable", "verdict"],
                        candidates, "AUC with 95 % intervals; length is a rank correlation."),
            views.alarm("Not tried: channel", "This engine gives no log-probabilities.", "note"),
        ],
    )  # fmt: skip
    tasks: list[Row] = []
    for i in range(size):
        parents = tuple(rng.choice(seeds).id for _ in range(3))
        text = f"{rng.choice(VERBS)} {rng.choice(TOPICS)}, in at most {rng.randint(2, 90)} words."
        why = rng.choices([None, "too_similar", "no_verb", "wrong_script"], [80, 14, 4, 2])[0]
        nasty = i < len(NASTY)
        tasks.append(
            Example(
                instruction=NASTY[i] if nasty else text,
                input=NASTY[-1 - i] if nasty and i % 2 else "",
                parents=parents,
                set_aside=None if nasty else why,
                meta={"origin": "machine", "category": rng.choice(["writing", "facts"]),
                      "<b>key": NASTY[0]} if nasty else {"origin": "machine"},
            )
        )  # fmt: skip
    tasks = b.step(
        f"{scope}/synthesize", "dataset", {}, [
            views.funnel("Synthesis", [("read from replies", size + 300), ("rules", size + 80),
                                       ("new", size)],
                         {"too_similar": 211, "no_verb": 48, "<script>": 9}, "Waves of 32."),
            views.histogram("Likeness to the nearest task",
                            {"accepted": [rng.betavariate(2, 5) for _ in range(400)],
                             "too similar": [rng.betavariate(8, 2) for _ in range(160)]},
                            edges=[i / 20 for i in range(21)], x="ROUGE-L F"),
        ], tasks, calls={"requests": size // 4, "remembered": 12, "prompt_tokens": 310 * size,
                         "completion_tokens": 96 * size},
    )  # fmt: skip
    used = [row for row in tasks if not row.set_aside]
    answered = [
        dataclasses.replace(
            row, id="", parents=(row.id,),
            response=NASTY[i % len(NASTY)] if i < 6 else " ".join(rng.choices(ANSWERS, k=4)),
            finish_reason=rng.choices(["stop", "length"], [9, 1])[0],
        )
        for i, row in enumerate(used)
    ]  # fmt: skip
    answered = [
        dataclasses.replace(r, set_aside="unfinished") if r.finish_reason == "length" else r
        for r in answered
    ]
    answered = b.step(
        f"{scope}/respond", "dataset", {}, [], answered,
        calls={"requests": len(used), "remembered": 0, "prompt_tokens": 700 * len(used),
               "completion_tokens": 88 * len(used)},
    )  # fmt: skip
    scored = []
    for row in answered:
        if not row.set_aside:
            value = round(rng.gauss(6.4 + 0.5 * t, 1.6), 2) if rng.random() > 0.03 else None
            said = NASTY[1] if len(scored) == 3 else "8 - keeps to what was asked"
            scored.append(
                dataclasses.replace(row, verdicts={"quality": Verdict(value, said),
                                                   "following": Verdict(rng.randint(1, 10))})
            )  # fmt: skip
    numbers = [r.verdicts["quality"].score for r in scored]
    b.step(
        f"{scope}/assess", "dataset", {}, [
            views.histogram("Scores: quality", {"quality": [n for n in numbers if n is not None]},
                            edges=range(13), x="quality, by mutual information"),
            views.alarm("Unreadable verdicts", "5 of 180 rows have a verdict that could not be "
                        "read. They are never kept."),
        ], list(scored), warnings=["5 of 180 rows have a verdict that could not be read. They are "
                                   "never kept."],
    )  # fmt: skip
    kept = [
        row if (row.verdicts["quality"].score or 0) >= 7
        else dataclasses.replace(row, set_aside="low_quality" if row.verdicts["quality"].score
                                 else "unreadable_verdict")
        for row in scored
    ]  # fmt: skip
    b.step(f"{scope}/keep", "dataset", {}, [], list(kept))
    clouds = {
        "generated": [(rng.gauss(0.4, 1.4), rng.gauss(0, 1)) for _ in range(900)],
        "seeds": [(rng.gauss(-0.6, 1), rng.gauss(0.3, 0.8)) for _ in range(160)],
    }
    labels = {"generated": [NASTY[i % 9][:200] for i in range(900)], "seeds": ["a seed"] * 160}
    b.step(
        f"{scope}/mix", "dataset", {}, [
            views.table("Training rows", ["origin", "rows"], [["machine", 90], ["seed", 175]]),
            views.scatter("Beside the seeds, in two principal components", clouds,
                          x="first component", y="second component", labels=labels),
        ], [r for r in kept if not r.set_aside] + list(seeds),
    )  # fmt: skip
    loss = [(float(u), 2.4 * 0.985**u + 1.1 - 0.05 * t + rng.gauss(0, 0.05)) for u in range(200)]
    b.step(
        f"{scope}/train", "model", {"path": "model", "prompt_format": "chat"},
        [views.curve("Training loss", {"training": loss, "validation": loss[::25]}, x="update",
                     y="loss per token")],
        execution={"trainer": "accelerate"},
    )  # fmt: skip
    measured(b, f"{scope}/measure", 0.31 + 0.06 * (t + 1))
    b.step(f"{scope}/stop", "choice", {"value": False, "why": "iter0 is better than the base"})


def build(folder: Path, iterations: int = 2, size: int = 400) -> Path:
    """The run directory."""
    b = Builder(folder)
    outside = "ab12cd34ef56"
    seeds: list[Row] = [
        Example(id=f"seeds-{i:05d}", instruction=f"{VERBS[i % 5]} {TOPICS[i % 12]}.",
                response=ANSWERS[i % 4], meta={"origin": "seed", "category": "writing"})
        for i in range(60)
    ]  # fmt: skip
    list(write_rows(seeds, folder / "inputs" / f"seeds-{outside}", "example"))
    list(write_rows(seeds, folder / "inputs" / "seeds-000000000000", "example"))
    payload = {"op": "choose", "args": {"seeds": {"artifact": outside + "0" * 52}}}
    b.step("format", "choice", {"value": "raw", "why": "raw costs 1.92 nats a token, chat 2.77"},
           payload=payload)  # fmt: skip
    measured(b, "measure", 0.31)
    for t in range(iterations):
        iteration(b, t, seeds, size)
    pairs: list[Row] = [
        PreferencePair(instruction="Which?", chosen="this one", rejected=NASTY[0], id=f"pair-{i}")
        for i in range(3)
    ]
    b.step("pairs", "dataset", {}, [], pairs)
    b.step("select", "choice", {"value": 2, "why": "iter1 is the best that beats the base"})
    rows = [
        model(name, *numbers)
        for name, *numbers in (
            ("base", 0.31, None, 0.131, None),
            ("iter0", 0.37, estimate(0.06, 0.031), 0.154, 0.94),
            ("iter1 ← result", 0.43, estimate(0.12, 0.032), 0.179, 1.02),
            ("control: seeds alone", 0.395, estimate(0.085, 0.031), 0.16, 1.0),
            ("control: random rows", 0.42, estimate(0.11, 0.114), 0.171, 1.1),
        )
    ]
    sentence = (
        "Result: iter1. Against the best control (random rows): no difference seen, +1.0 points "
        "[-1.9, +3.8] of probes passed; against the base: better, +12.0 [+8.8, +15.2]."
    )
    curves = {"probes": [(0.0, 31.0), (1.0, 37.0), (2.0, 43.0)], "held out": [(0, 13), (2, 17.9)]}
    b.step(
        "summary", "metrics", {"values": {"chosen": 2}, "headline": sentence, "concludes": True},
        [
            views.table("Models", ["model", "probes", "vs base", "held out", "length"],
                        rows, "Intervals are 95 %, paired bootstrap over the same probes."),
            views.curve("Measures over iterations", curves, x="0 is the base", y="% passed"),
            views.alarm("Controls", "Control random rows was trained on 90 rows.", "error"),
        ],
    )  # fmt: skip
    b.step("result", "model", {"path": "model", "prompt_format": "chat"})
    b.finish()
    return folder


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("runs") / "isheep-smollm2-135m", size=120)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "run")


@pytest.fixture(scope="session")
def build_run() -> Callable[..., Path]:
    return build


if __name__ == "__main__":
    print(json.dumps({"written": str(build(Path(sys.argv[1])))}))
