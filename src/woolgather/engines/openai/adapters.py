"""Adapters at a server that loads them while it runs, as vLLM's does (`/load_lora_adapter`).

The one idea: an adapter goes under a name that is its content. A server keeps what it has computed by an
adapter's name, so that a name that came again with other weights would be answered from the old ones.
These calls are few, and made before and after all others; each waits for its answer.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from woolgather.core.errors import CapabilityError
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.cards import Cards, read_cards
from woolgather.engines.openai.refusals import read_refusal
from woolgather.engines.openai.serving import Endpoint, ask_at, redact_address
from woolgather.engines.vllm.adapters import read_adapter

_SECONDS = 300
"""Until a server that reads an adapter from a slow disk is given up."""
_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came back; the status is 0 where there was no connection."""

    status: int
    body: JSON


def loads_adapters(endpoint: Endpoint, options: EngineOptions) -> bool:
    """Returns whether the server loads adapters while it runs: it has the page, and misses a name."""
    empty = {"lora_name": "", "lora_path": ""}
    return _ask(endpoint, "/load_lora_adapter", options, empty, _PROBE_SECONDS).status in (400, 422)


def find_at_servers(
    path: str, adapter: str, endpoints: Sequence[Endpoint], options: EngineOptions
) -> EngineOptions | None:
    """Returns the options to ask servers for a model that they did not have when they started: as the
    directory `path`, where they list it, else by the `adapter`, a folder that they are to load on what
    the `endpoints` name; empty for none. Returns None where there is neither.

    Raises CapabilityError for an adapter that would be served in part.
    """
    listed = [
        replace(endpoint, name=name)
        for endpoint in endpoints
        for name, card in list_models(endpoint, options).items()
        if path in (name, card.get("root"))
    ]
    if listed:
        return ask_at(listed, options)
    if not adapter:
        return None
    read_adapter(adapter)
    return replace(ask_at(endpoints, options), adapter=adapter, replicas=0, ray="")


def load_adapter(endpoint: Endpoint, options: EngineOptions) -> bool:
    """Has the server load the adapter in the folder `options.adapter` under the endpoint's name. Returns
    False where it had it already. Raises CapabilityError, with the server's words, where it does not."""
    body = {"lora_name": endpoint.name, "lora_path": options.adapter}
    reply = _ask(endpoint, "/load_lora_adapter", options, body)
    if reply.status == 200:
        return True
    said = read_refusal(reply.status, reply.body).said
    if "already" in said:
        return False
    raise CapabilityError(
        f"{redact_address(endpoint.url)}: does not load the adapter {options.adapter} (status "
        f"{reply.status}{f': {said}' if said else ''}). The server needs --enable-lora, a "
        "--max-lora-rank that is large enough, and the folder under the same path; or use --engine "
        "transformers."
    )


def unload_adapter(endpoint: Endpoint, options: EngineOptions) -> None:
    """Has the server forget the adapter under the endpoint's name. A server that is gone has done so."""
    body = {"lora_name": endpoint.name}
    _ask(endpoint, "/unload_lora_adapter", options, body, _PROBE_SECONDS)


def list_models(endpoint: Endpoint, options: EngineOptions) -> Cards:
    """Returns what the server says it serves; nothing where it does not say."""
    try:
        return read_cards(_ask(endpoint, "/models", options, None, _PROBE_SECONDS).body)
    except ValueError:
        return {}


def _ask(
    endpoint: Endpoint,
    path: str,
    options: EngineOptions,
    body: JSON,
    seconds: float = _SECONDS,
) -> _Reply:
    """Posts `body`, or gets the page where there is none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **_authorization(endpoint.url, options)}
    address = redact_address(endpoint.url) + path
    try:
        with urlopen(Request(address, data, headers), timeout=seconds) as reply:
            return _Reply(int(reply.status), _read(reply.read()))
    except HTTPError as error:
        return _Reply(error.code, _read(error.read()))
    except (OSError, HTTPException) as error:
        return _Reply(0, str(error))


def _authorization(url: str, options: EngineOptions) -> dict[str, str]:
    """The key from the environment, or else the user and password in the address."""
    key = os.environ.get(options.api_key_env, "").strip()
    if key:
        return {"Authorization": f"Bearer {key}"}
    named = urlsplit(url).netloc.rpartition("@")[0]
    return {"Authorization": f"Basic {b64encode(named.encode()).decode()}"} if named else {}


def _read(data: bytes) -> JSON:
    text = data.decode(errors="replace")
    try:
        found: JSON = json.loads(text)
    except ValueError:
        return text
    return found
