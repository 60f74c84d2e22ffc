"""The global options as they were typed: one context, which every command reads."""

from __future__ import annotations

from clipledger.cli.output import Context

context = Context()
