"""Runs behaviours one after the other and prints what each saw, one JSON line each."""

import json
import sys


def report(behaviour, **outcome):
    print(json.dumps({"behaviour": behaviour, **outcome}), flush=True)


def chosen(behaviours):
    """All of them, or those named on the command line."""
    return {name: run for name, run in behaviours.items() if name in sys.argv[1:] or not sys.argv[1:]}
