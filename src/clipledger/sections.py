"""What every section of the settings is made of, and the section that says how long posts stay.

Below `settings`, which is one model of all sections. Must not: read a file or the environment.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from clipledger.core.errors import UsageError
from clipledger.core.retention import Rule
from clipledger.core.times import parse_duration


def duration(text: str) -> str:
    """Refuse what is no duration, in the words that a setting needs."""
    try:
        parse_duration(text)
    except UsageError as error:
        raise ValueError(error.detail) from None
    return text


_NAME = set("abcdefghijklmnopqrstuvwxyz0123456789.-")

Duration = Annotated[str, AfterValidator(duration)]


class Section(BaseModel):
    """One section: an unknown key is an error, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class Lifecycle(Section):
    """How long posts stay, and how they go."""

    purge_after: Duration = Field(
        "30d", description="how long a withdrawn post stays in quarantine before it is erased"
    )
    retention: bool = Field(False, description="have the janitor do what the rules below say, with every sweep")
    cold_class: Literal["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] = Field(
        "GLACIER_IR", description="S3 storage class that rules with action cold move files to; all can be read at once"
    )
    rules: list[Rule] = Field(
        [],
        description="retention rules, each a [[lifecycle.rules]] of its own with name, action (delete, cold or keep) "
        "and any of source, older_than, region, gone, larger_than; the first that holds decides",
    )

    @field_validator("rules")
    @classmethod
    def _each_named_once(cls, rules: list[Rule]) -> list[Rule]:
        if len({rule.name for rule in rules}) < len(rules):
            raise ValueError("two rules have the same name")
        return rules


class Web(Section):
    """The web app."""

    hosts: list[str] = Field(
        [], description="further names by which the web app is reached, such as archive.example.org behind a proxy"
    )

    blur: list[str] = Field(
        ["nsfw", "gore", "graphic", "triggerwarning", "contentwarning", "sensitive"],
        description="tags whose posts the web app blurs until they are clicked",
    )

    @field_validator("hosts")
    @classmethod
    def _plain_names(cls, hosts: list[str]) -> list[str]:
        names = [name.strip().lower() for name in hosts]
        if any(not name or not set(name) <= _NAME for name in names):
            raise ValueError("write names alone, without http:// and without a port")
        return names
