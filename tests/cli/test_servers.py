"""`run`, `eval` and `chat` with --engine openai against a server that has one model, or several."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.cli import main
from woolgather.core.errors import ConfigError
from woolgather.runs.record import current_steps

from ..engines.serving import Told

Call = Callable[..., Any]
Said = Callable[..., str]
OPENAI = ("--engine", "openai")
RECIPE = """
from woolgather.engines.base import Request, Sampling, ask
from woolgather.core.options import Options
from woolgather.core.rows import Example

class Config(Options):
    base: str = ""
    judge_model: str = ""
    words: tuple[str, ...] = ("one", "two", "six")

def write(engine, *, words) -> "Iterator[Example]":
    for word, told in zip(words, ask(engine, [Request(w, Sampling()) for w in words])):
        yield Example(instruction=word, response=told.text)

def rate(rows, engine) -> "Iterator[Example]":
    rows = list(rows)
    for row, told in zip(rows, ask(engine, [Request(r.response, Sampling()) for r in rows])):
        yield Example(instruction=row.instruction, response=told.text, parents=(row.id,))

def recipe(run, cfg):
    base, judge = run.model("base", cfg.base), run.model("judge_model", cfg.judge_model)
    run.step("rated", rate, run.step("written", write, run.engine(base), words=cfg.words),
             run.engine(judge))
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Told]:
    told = Told()
    yield told
    told.stop()


@pytest.fixture
def server(running: Told, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    running.tell()
    return running


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """The one message with which a command ends, as a shell sees it."""

    def invoke(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["woolgather", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert ended.value.code == 2, shown
        assert "Traceback" not in shown.err + shown.out
        return shown.err.removeprefix("error: ").rstrip("\n")

    return invoke


def a_model(path: Path, content: str = "{}") -> Path:
    """A folder that passes for a model's: its files are looked at, never loaded."""
    path.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (path / name).write_text(content)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return a_model(tmp_path / "base")


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    return a_model(tmp_path / "judge", "{ }")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(f"from collections.abc import Iterator\n{RECIPE}")
    return path


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    check = {"kind": "contains", "any": ["yes"]}
    lines = [{"instruction": f"Say yes {i}.", "response": "yes", "check": check} for i in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# -- runs that train -------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipe", "asks"), [
    ("isheep", "iter0/measure asks the model that iter0/train-merge makes"),
    ("spin", "iter0/measure asks the model that iter0/train-merge makes"),
    ("humback", "forward/measure asks the model that forward/train-merge makes"),
    ("dromedary", "engrave/measure asks the model that engrave/train-merge makes"),
])  # fmt: skip
def test_a_run_that_asks_what_it_trains_is_refused_before_its_first_request(
    said: Said, server: Told, base: Path, tmp_path: Path, recipe: str, asks: str
) -> None:
    words = [recipe, "--preset", "demo", f"base={base}", *OPENAI, "--dir", tmp_path / "run"]
    expected = (
        f"--engine openai: {asks} in this run, and a server holds only models that existed when it "
        "was started, so use --engine transformers, which asks every model of a run."
    )
    assert said("run", *words, "--url", server.url) == expected
    assert said("run", *words, "--serve", f"base={server.url}#tiny") == expected
    assert said("plan", *words) == expected
    assert not [body for body in server.bodies if "lora_name" not in body]
    assert server.stats["listed"] <= 1
    assert not (tmp_path / "run").exists()


# -- runs of models that exist ---------------------------------------------------------------------


def test_a_run_asks_each_model_by_its_own_name(
    call: Call, server: Told, mine: Path, base: Path, judge: Path, tmp_path: Path
) -> None:
    server.tell(
        models=["a", "b"], says={"a": "from a", "b": "from b"}, cards={"b": {"max_model_len": 64}}
    )
    words = [mine, f"base={base}", f"judge_model={judge}", *OPENAI, "--no-report"]
    place = ["--dir", tmp_path / "run"]
    serve = ["--serve", f"base={server.url}#a", "--serve", f"{judge}={server.url}#b"]
    shown = call("run", *words, *place, *serve).stdout
    assert f"asking {server.url}/v1#a for base" in shown
    assert f"asking {server.url}/v1#b for judge_model" in shown
    asked = [(b["model"], b["messages"][-1]["content"]) if "messages" in b
             else (b["model"], b["prompt"]) for b in server.bodies]  # fmt: skip
    assert sorted(asked) == [("a", "one"), ("a", "six"), ("a", "two"), *[("b", "from a")] * 3]
    found = {r.step: r for _, r in current_steps(tmp_path / "run")}
    assert found["written"].execution["engine"]["served"] == [
        {"model": "base", "url": f"{server.url}/v1", "name": "a", "card": {"id": "a"}}
    ]
    assert found["rated"].execution["engine"]["served"] == [
        {
            "model": "judge_model",
            "url": f"{server.url}/v1",
            "name": "b",
            "card": {"id": "b", "max_model_len": 64},
        }
    ]
    server.tell()
    again = call("run", *words, *place).stdout
    assert again.count("remembered:") == 2
    assert server.bodies == []
    shutil.rmtree(tmp_path / "run")
    same = [*words[:1], f"base={base}", f"judge_model={base}", *words[3:]]
    call("run", *same, *place, "--url", server.url)
    assert {b["model"] for b in server.bodies} == {"tiny"}


def test_a_judge_at_a_server_beside_another_engine(
    call: Call, server: Told, mine: Path, judge: Path, tmp_path: Path
) -> None:
    words = [
        mine,
        f"judge_model={judge}",
        "--engine",
        "fake",
        "--no-report",
        "--dir",
        tmp_path / "r",
    ]
    shown = call("run", *words, "--serve", f"judge_model={server.url}#tiny").stdout
    assert f"asking {server.url}/v1#tiny for judge_model" in shown
    assert "loading fake" in shown
    assert len(server.bodies) == 3
    found = {r.step: r for _, r in current_steps(tmp_path / "r")}
    assert "served" not in found["written"].execution["engine"]
    assert found["rated"].execution["engine"]["served"][0]["model"] == "judge_model"
    for options in ((), ("--serve", f"{judge}={server.url}/other")):
        assert call("run", *words, *options).stdout.count("remembered:") == 2


def test_a_judge_that_only_its_server_has(
    call: Call, server: Told, mine: Path, tmp_path: Path
) -> None:
    words = [mine, "base=fake", "judge_model=org/judge-70b", "--engine", "fake", "--no-report"]
    words += ["--dir", tmp_path / "r"]
    serve = ["--serve", f"judge_model={server.url}#tiny"]
    assert f"asking {server.url}/v1#tiny for judge_model" in call("run", *words, *serve).stdout
    assert {body["model"] for body in server.bodies} == {"tiny"}
    assert call("run", *words, *serve).stdout.count("remembered:") == 2


def test_eval_of_a_folder_here_beside_a_name_at_a_server(
    told: Call, server: Told, base: Path, tasks: Path
) -> None:
    server.tell(says={"tiny": "yes"})
    words = ["--engine", "fake", "--serve", f"there={server.url}#tiny", "--tasks", tasks, *EVAL]
    here, there = told("eval", base, "there", *words)
    assert (here["heldout"]["value"], there["heldout"]["value"]) == (0.0, 1.0)


def test_servers_that_cannot_be_are_refused_before_the_first_request(
    said: Said, server: Told, mine: Path, base: Path, judge: Path, tmp_path: Path
) -> None:
    words = ["run", mine, f"base={base}", f"judge_model={judge}", "--dir", tmp_path / "run"]
    words += ["--no-report"]
    url, role = f"{server.url}/v1", f"base={server.url}#tiny"
    both = f"base ({base}) and judge_model ({judge})"
    told = {
        ("--url", server.url): f"--url is for one model, and {both} are asked. Say where each is: "
        f"--serve base={url}#NAME --serve judge_model={url}#NAME.",
        ("--serve", role): "--engine openai: no server is named for judge_model "
        f"({judge}). Add --serve judge_model=URL#NAME.",
        (): f"--engine openai: no server is named for {both}. "
        "Add --serve base=URL#NAME --serve judge_model=URL#NAME.",
        ("--url", server.url, "--serve", role, "--serve", f"win_judge={server.url}"): "--serve "
        f"win_judge=...: no model that is asked is called win_judge. Those that are asked: {both}.",
        ("--serve", "base"): "--serve base: write ROLE_OR_PATH=URL#NAME, e.g. "
        "--serve base=http://localhost:8000#my-model.",
        ("--url", "host:8000"): "engine openai: 'host:8000' is not an address. "
        "One looks like http://localhost:8000/v1.",
    }
    for options, message in told.items():
        assert said(*words, *OPENAI, *options) == message
    assert said(*words, "--url", server.url) == (
        "--url names the server of all that is asked, and --engine transformers asks none. Add "
        "--engine openai, or say which model is there: --serve ROLE_OR_PATH=URL#NAME."
    )
    assert said(*words, "--serve", f"win_judge={server.url}") == (
        "--serve win_judge=...: no model that is asked is called win_judge. Those that are asked: "
        f"{both}."
    )
    assert not (tmp_path / "run").exists()
    assert server.bodies == []
    assert server.stats["listed"] == 0


def test_a_name_that_the_server_does_not_have_ends_the_run(
    said: Said, server: Told, mine: Path, base: Path, tmp_path: Path
) -> None:
    words = ["run", mine, f"base={base}", f"judge_model={base}", "--dir", tmp_path / "run"]
    message = said(*words, "--no-report", *OPENAI, "--url", f"{server.url}#other")
    assert message.startswith(
        f"{server.url}/v1 does not serve other, but 1 model (tiny). Give the na"
    )
    assert server.bodies == []


# -- eval and chat ---------------------------------------------------------------------------------

EVAL = ("--probes", "0", "--prompt-format", "chat")


def test_eval_of_folders_asks_each_by_its_own_name(
    told: Call, server: Told, base: Path, judge: Path, tasks: Path
) -> None:
    server.tell(models=["a", "b"], says={"a": "yes", "b": "no"})
    serve = ["--serve", f"{base}={server.url}#a", "--serve", f"{judge}/={server.url}#b"]
    first, second = told("eval", base, judge, *OPENAI, *serve, "--tasks", tasks, *EVAL)
    assert (first["model"], first["heldout"]["value"]) == (str(base), 1.0)
    assert (second["model"], second["heldout"]["value"]) == (str(judge), 0.0)
    assert second["against_first"]["heldout"]["value"] == -1.0
    assert sorted({b["model"] for b in server.bodies}) == ["a", "b"]


def test_eval_of_served_names_asks_both_at_one_server(
    told: Call, server: Told, tasks: Path
) -> None:
    server.tell(models=["a", "b"], says={"a": "no", "b": "yes"})
    found = told("eval", "a", "b", *OPENAI, "--url", server.url, "--tasks", tasks, *EVAL)
    assert [f["heldout"]["value"] for f in found] == [0.0, 1.0]


def test_eval_of_one_folder_takes_the_name_behind_the_address(
    told: Call, said: Said, server: Told, base: Path, tasks: Path
) -> None:
    server.tell(models=["a", "b"], says={"a": "no", "b": "yes"})
    words = ["eval", base, *OPENAI, "--tasks", tasks, *EVAL, "--url"]
    assert told(*words, f"{server.url}#b")[0]["heldout"]["value"] == 1.0
    assert {b["model"] for b in server.bodies} == {"b"}
    assert re.match(r"\S+ serves 2 models \(a, b\)\. Give the name", said(*words, server.url))


@pytest.mark.parametrize("command", ["eval", "chat"])
def test_two_models_at_one_address_are_refused(
    said: Said, server: Told, base: Path, judge: Path, command: str
) -> None:
    def two(one: object, other: object) -> str:
        names = [one, "--against", other] if command == "chat" else [one, other]
        return said(command, *names, *OPENAI, "--url", server.url)

    url = f"{server.url}/v1"
    for one, other in ((base, judge), (base, "tiny"), ("tiny", base)):
        assert two(one, other) == (
            f"--url is for one model, and {one} and {other} are asked. Say where each is: "
            f"--serve {one}={url}#NAME --serve {other}={url}#NAME."
        )
    assert server.bodies == []


def test_chat_with_two_folders(call: Call, server: Told, base: Path, judge: Path) -> None:
    server.tell(models=["a", "b"], says={"a": "I am a", "b": "I am b"})
    serve = ["--serve", f"{base}={server.url}#a", "--serve", f"{judge}={server.url}#b"]
    shown = call("chat", base, "--against", judge, *OPENAI, *serve, input="hello\n").stdout
    assert re.search(r"I am a +I am b", shown)
    assert sorted(b["model"] for b in server.bodies) == ["a", "b"]


def test_template_variables_of_a_command_are_sent(
    told: Call, call: Call, said: Said, server: Told, base: Path, tasks: Path
) -> None:
    words = [*OPENAI, "--url", server.url, "--chat-template-kwargs"]
    off = '{"enable_thinking": false}'
    told("eval", base, *words, off, "--tasks", tasks, *EVAL)
    call("chat", base, *words, off, input="hello\n")
    sent = [b.get("chat_template_kwargs") for b in server.bodies if "messages" in b]
    assert sent
    assert all(s == {"enable_thinking": False} for s in sent)
    for wrong in ("no", "[1]", '{"a b": 1}', '{"a": null}', '{"a": {}}'):
        assert said("eval", base, *words, wrong).endswith(
            "give a JSON object of names with texts, numbers, true or false, e.g. "
            "'{\"enable_thinking\": false}'."
        )


@pytest.mark.parametrize(("words", "message"), [
    (["eval", "x", "--url", "http://h"], "--engine transformers asks none. Add --engine openai, or say"),
    (["chat", "x", "--serve", "y=http://h", "--engine", "fake"], "called y. Those that are asked: x."),
    (["eval", "x", *OPENAI], "no server is named for x. Add --url URL, or --serve x=URL#NAME"),
    (["eval", "x", *OPENAI, "--serve", "y=http://h"], "called y. Those that are asked: x."),
    (["chat", "x", *OPENAI, "--url", "http://h#y"], "write --serve x=http://h/v1#y"),
    (["eval", "x", *OPENAI, "--serve", "x"], "write ROLE_OR_PATH=URL#NAME"),
])  # fmt: skip
def test_mistakes_are_said(call: Call, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        call(*words)
