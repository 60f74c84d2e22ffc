"""How much Hypothesis tries: little by default, a lot with CLIPLEDGER_TEST_PROFILE=thorough."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fast", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("CLIPLEDGER_TEST_PROFILE", "fast"))
