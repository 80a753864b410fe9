"""The cards of a release: what the hub shows of a model and of the rows, with their metadata.

The one idea: the words stand in the templates beside this file; here they get the sections, and the hub
gets the metadata that it searches and loads by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from woolgather.core.rows import JSON
from woolgather.release import sections
from woolgather.release.parts import RESULT, ReleasedModel, made_from
from woolgather.release.rows import Configuration
from woolgather.release.source import Base, name_replayed
from woolgather.report.collect import RunReport
from woolgather.report.text import number

if TYPE_CHECKING:
    from jinja2 import Environment

TAGS = ("woolgather", "synthetic")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's words for how many rows a data set has, by the first number it is below."""
_LARGER = "1M<n<10M"
COLUMNS = """\
A row has `id`, `instruction`, `system`, `parents` (ids of the rows it was made from), `set_aside` (the
reason, in that split) and `meta` (JSON); an answered one `input`, `response`, `finish_reason` and
`verdicts` (name, score on the assessor's own scale, text); a pair `chosen` and `rejected`."""


@dataclass(frozen=True)
class Cards:
    """The cards of one run under the names that its repositories have on the hub."""

    run: RunReport
    base: Base
    data: str = ""
    """The data set's `owner/name`; empty where no rows go out."""

    def write_model_card(self, model: ReleasedModel, repo: str) -> str:
        """Returns the card of a model that is `repo` on the hub."""
        head: dict[str, JSON] = {
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": list(TAGS),
            "license": self.base.licence,
            "base_model": self.base.repo,
            "base_model_relation": "finetune" if self.base.repo else "",
            "datasets": [self.data] if self.data else [],
        }
        about = [self._place(model)]
        if made_from(self.run, [model]):
            about.append(
                f"{self.base.name} was tuned on rows that a run of woolgather made, with the "
                f"{self._beside} beside them."
            )
        else:
            about.append(
                f"It is {self.base.name} itself, unchanged: nothing was trained to make it."
            )
        if self.data:
            about.append(f"The run's rows are the data set `{self.data}`.")
        return _fill(
            "model-card.md",
            head=_yaml(head),
            title=repo.partition("/")[2],
            about=" ".join(about),
            verdict=self.run.verdict,
            measures=sections.write_measures(self.run),
            **self._made,
        )

    def write_data_card(self, configurations: Sequence[Configuration]) -> str:
        """Returns the card of the rows, whose metadata say which file is what."""
        total = sum(sum(each.counts.values()) for each in configurations)
        head: dict[str, JSON] = {
            "pretty_name": self.data.partition("/")[2],
            "task_categories": ["text-generation"],
            "tags": list(TAGS),
            "size_categories": [next((w for n, w in _SIZES if total < n), _LARGER)],
            "configs": [_describe(each) for each in configurations],
        }
        head["configs"][-1]["default"] = True  # what the last training saw
        licence = self.base.licence or sections.UNKNOWN_LICENCE
        about = (
            f"Rows that models were trained on in a run of woolgather, step by step. They were written "
            f"by {self.base.name} (licence: {licence}) and by models tuned from it, with "
            f"{self._beside} beside them; the terms of both apply."
        )
        return _fill(
            "dataset-card.md",
            head=_yaml(head),
            title=self.data.partition("/")[2],
            about=about,
            configurations=self._list(configurations),
            **self._made,
        )

    @cached_property
    def _made(self) -> Mapping[str, str]:
        """The sections that all cards of a run share."""
        return {
            "facts": sections.write_facts(self.run, self.base),
            "method": sections.write_method(self.run),
            "departures": sections.write_departures(self.run),
            "funnel": sections.write_funnel(self.run),
            "verdicts": sections.write_verdicts(self.run),
            "reproduce": sections.write_reproduction(self.run),
            "lineage": sections.write_lineage(self.run),
        }

    @property
    def _beside(self) -> str:
        """What people wrote of a training's rows."""
        last = self.run.last
        settings = last.config if last and isinstance(last.config, Mapping) else {}
        replayed = name_replayed(settings)
        return f"seeds and replayed rows of its user ({replayed})" if replayed else "seeds"

    def _place(self, model: ReleasedModel) -> str:
        """Which model of the run this is, in a sentence."""
        if model.name != RESULT:
            return f"The model of `{model.name}`, which is not the chosen result of its run."
        why = next((s.why for s in self.run.steps if s.record.step == "select"), "")
        return f"The result of a run{f' ({why})' if why else ''}."

    def _list(self, configurations: Sequence[Configuration]) -> str:
        rows = [
            (f"`{each.name}`", *(each.counts.get(split, 0) for split in ("train", "set_aside")))
            for each in configurations
        ]
        shown = sections.table(("configuration", "train", "set_aside"), rows)
        example = (
            "```python\nfrom datasets import load_dataset\n\n"
            f'rows = load_dataset("{self.data}", "{configurations[-1].name}", split="train")\n```'
        )
        told = f"`train` has the rows in use, {number(len(rows))} steps of them."
        return "\n\n".join([told, shown, example, COLUMNS])


def _describe(configuration: Configuration) -> dict[str, JSON]:
    files = [{"split": split, "path": path} for split, path in configuration.files.items()]
    return {"config_name": configuration.name, "data_files": files}


def _yaml(head: Mapping[str, JSON]) -> str:
    """Metadata without what is empty."""
    import yaml

    known = {key: value for key, value in head.items() if value}
    return yaml.safe_dump(known, sort_keys=False, allow_unicode=True).rstrip()


def _fill(name: str, **sections: str) -> str:
    return _templates().get_template(name).render(**sections).strip() + "\n"


@lru_cache
def _templates() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("woolgather") / "release"
    return Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
