"""Where vLLM is looked for, and what is said when it is not there or not asked for."""

import sys
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines import check_engine, open_engine
from woolgather.engines.base import EngineOptions
from woolgather.engines.vllm.interpreter import INSTALL, child_environment, find_interpreter


def test_where_vllm_is_looked_for(
    stubbed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_interpreter(sys.executable).python == sys.executable
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".venv-vllm" / "bin"
    place.mkdir(parents=True)
    (place / "python").symlink_to(sys.executable)
    assert find_interpreter().python == str(place / "python")


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, "cannot be run"),
        ("echo no json", "is not a Python"),
        ("echo oops >&2; exit 3", "is not a Python of 3.11 or newer .oops."),
        (
            """echo '{"python": [3, 9, 2], "prefix": "", "versions": {}, "there": true}'""",
            "is Python 3.9.2; 3.11 is needed",
        ),
        (
            """echo '{"python": [3, 12, 0], "prefix": "", "versions": {}, "there": false}'""",
            "vLLM is not there",
        ),
    ],
)
def test_an_interpreter_that_will_not_do_is_told_with_the_remedy(
    tmp_path: Path, made: str | None, told: str
) -> None:
    path = tmp_path / "python"
    if made:
        path.write_text(f"#!/bin/sh\n{made}\n")
        path.chmod(0o755)
    with pytest.raises(ConfigError, match=rf"--engine-python {path}: .*{told}") as caught:
        find_interpreter(str(path))
    assert "3.9.2" in told or INSTALL in str(caught.value)


def test_what_the_user_set_in_the_environment_stays(
    stubbed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_interpreter(sys.executable)
    assert child_environment(found)["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in child_environment(found)


def test_options_of_vllm_alone_are_refused_with_another_engine() -> None:
    with pytest.raises(ConfigError, match="--engine-python is for --engine vllm"):
        check_engine(EngineOptions(python="x"))
    with pytest.raises(ConfigError, match="--engine-args is for --engine vllm"):
        check_engine(EngineOptions(name="fake", args={"a": 1}))
    with pytest.raises(ConfigError, match="choose transformers, vllm, openai or fake"):
        check_engine(EngineOptions(name="sglang"))
    with pytest.raises(ConfigError, match="choose transformers, vllm, openai or fake"):
        open_engine(Model("m"), EngineOptions(name="sglang"))
    check_engine(EngineOptions(name="vllm", python="nowhere"))
    with pytest.raises(ConfigError, match="cannot be run"):
        check_engine(EngineOptions(name="vllm", python="nowhere"), ready=True)
