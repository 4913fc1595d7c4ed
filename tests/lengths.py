"""Tests have a short form, for everybody, and a long one, for CI."""

import os

LONG = os.environ.get("FALCONET_TESTS") == "long"
