"""EAT's simulator out of a checkout of https://github.com/zzf1955/EAT, without the libraries that it does not need."""

import importlib
import sys
import types
from pathlib import Path
from unittest import mock


def load(checkout):
    """Its module `_SDEnv.env`."""
    folder = str(Path(checkout) / "EAT Simu")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    absent = {
        "tianshou": types.ModuleType("tianshou"),
        "tianshou.env": types.SimpleNamespace(DummyVectorEnv=None),
        "tabulate": types.SimpleNamespace(tabulate=None),
    }
    with mock.patch.dict(sys.modules, absent):
        env = importlib.import_module("_SDEnv.env")
        its_own = {name: module for name, module in sys.modules.items() if name.startswith("_SDEnv")}
    # Its agents import it again.
    sys.modules.update(its_own)
    return env
