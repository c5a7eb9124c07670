"""numpy, imported when it is first used.

The services import what they ask of a child (`jobs.py`) without paying for numpy: 25 MB, and a tenth of a second.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:

    def _import_when_used(name: str):
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.find_spec(name)
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    np = _import_when_used("numpy")

__all__ = ["np"]
