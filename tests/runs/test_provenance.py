"""What a launch's record keeps of the command line."""

import sys

import pytest

from woolgather.runs.provenance import capture


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("respond.sampling.max_tokens=64", "respond.sampling.max_tokens=64"),
        ("align.max_tokens=null", "align.max_tokens=null"),
        ("hub.token=hf_abc", "hub.token=***"),
        ("api_key=sk-123", "api_key=***"),
        ("--password=hunter2", "--password=***"),
        ("key=7", "key=7"),
        ("--url=http://me:pw@host/v1#name", "--url=http://***@host/v1#name"),
        ("base=http://host/v1?token=abc#n", "base=http://host/v1?token=***"),
        ("base=http://host:8000/v1#n@1", "base=http://host:8000/v1#n@1"),
    ],
)
def test_secrets_are_masked_and_settings_are_not(
    monkeypatch: pytest.MonkeyPatch, word: str, kept: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["woolgather", "run", word])
    assert capture()["argv"] == ["woolgather", "run", kept]
