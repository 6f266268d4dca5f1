"""What all tests share: hypothesis tries the same examples every time, and none fails for being slow.

A change is then judged by what it changed. ``HYPOTHESIS_PROFILE=explore`` draws new examples instead.
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
