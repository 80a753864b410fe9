"""A Python that says that it has the harness and writes what the harness writes, without a model."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy" / "toy.yaml"
SCRIPT = """#!{python}
import json, os, sys
from pathlib import Path

if "-c" in sys.argv:
    print(json.dumps({{"lm_eval": "0.4.13", "torch": "2.13.0"}}))
    sys.exit()
told = json.loads(Path({plan!r}).read_text())
job = json.loads(Path(sys.argv[-1]).read_text())
template = Path(job["args"].get("pretrained", "")) / "chat_template.jinja"
with open({log!r}, "a") as log:
    print(json.dumps({{"tasks": [t["task"] for t in job["tasks"]], "limit": job["limit"],
                       "chat": [t["chat"] for t in job["tasks"]], "args": job["args"],
                       "template": template.read_text() if template.is_file() else "",
                       "data": sorted(os.listdir(job["data"])),
                       "offline": os.environ["HF_HUB_OFFLINE"]}}), file=log)
tell = lambda **event: print(json.dumps(event), flush=True)
if told.get("problems"):
    tell(event="problems", problems=told["problems"])
    sys.exit()
for number, task in enumerate(job["tasks"]):
    if number == told.get("dies_after"):
        print("out of luck", file=sys.stderr)
        os.kill(os.getpid(), told["signal"]) if told.get("signal") else sys.exit(9)
    name, choices = task["task"], task["task"] == "toy_opposites"
    metric = "acc" if choices else "exact_match"
    right = told["right"].get(job["args"].get("pretrained", ""), told["right"]["others"])
    outcomes = right[name][: job["limit"]]
    folder = Path(task["folder"]) / "model"
    folder.mkdir(parents=True)
    samples = [{{"doc_id": i, "filter": "none", metric: value, "target": "1" if choices else "word",
                 "filtered_resps": [["-9.0", "False"], ["-2.77258872", "True"], ["-8.0", "False"]],
                 "arguments": {{f"gen_args_{{n}}": {{"arg_0": "It is", "arg_1": f" {{n}}rd"}}
                               for n in range(3 if choices else 1)}}}}
               for i, value in enumerate(outcomes)]
    (folder / f"samples_{{name}}_now.jsonl").write_text("".join(json.dumps(s) + "\\n" for s in samples))
    (folder / "results_now.json").write_text(json.dumps({{
        "results": {{name: {{f"{{metric}},none": sum(outcomes) / len(outcomes)}}}},
        "configs": {{name: {{"output_type": "multiple_choice" if choices else "generate_until"}}}},
        "task_hashes": {{name: "abc"}}}}))
    tell(event="task", task=name, seconds=1.5)
"""


@dataclass(frozen=True)
class FakeHarness:
    """The Python, and what it does and did."""

    python: str
    plan: Path
    log: Path

    def will(self, **told: object) -> None:
        """Sets what it does from now on: `right`, `problems`, `dies_after`."""
        known = json.loads(self.plan.read_text()) if self.plan.exists() else {}
        self.plan.write_text(json.dumps({**known, **told}))

    @property
    def jobs(self) -> list[dict[str, object]]:
        """Returns what it was asked, the first job first."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def fake_harness(tmp_path: Path) -> FakeHarness:
    home = tmp_path / "harness"
    home.mkdir()
    made = FakeHarness(str(home / "python"), home / "plan.json", home / "jobs.jsonl")
    made.log.touch()
    text = SCRIPT.format(python=sys.executable, plan=str(made.plan), log=str(made.log))
    path = Path(made.python)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    made.will(right={"others": {"toy_opposites": [1, 0, 0, 1, 0, 0], "toy_echo": [0, 0, 1, 0]}})
    return made
