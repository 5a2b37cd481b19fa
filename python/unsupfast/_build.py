"""What was built, what is usable, and on how many threads."""

from __future__ import annotations

import os
from typing import Any

from . import _core
from ._core import get_num_threads, set_num_threads

__all__ = ["build_info", "get_num_threads", "set_num_threads"]


def build_info() -> dict[str, Any]:
    """Facts about this build and this machine.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``flags``, ``build_type``; ``isa`` in use and ``available_isas``;
        ``threads``; ``cuda`` with ``built``, ``usable``, ``gpus`` and the ``reason`` why there is
        none or one cannot be used; ``operations`` with the
        backends that have a kernel for each.
    """
    facts = dict(_core.build_facts())
    gpus, reason = _core.gpus()
    cuda = {
        "built": facts.pop("cuda_built"),
        "usable": any(not gpu["reason"] for gpu in gpus),
        "reason": reason or next((gpu["reason"] for gpu in gpus if gpu["reason"]), ""),
        "gpus": gpus,
        "architectures": facts.pop("cuda_archs", ""),
        "toolkit": facts.pop("cuda_version", ""),
    }
    facts.pop("cuda_reason", None)
    return {
        **facts,
        "isa": _core.get_isa(),
        "available_isas": _core.available_isas(),
        "threads": get_num_threads(),
        "cuda": cuda,
        "operations": _core.catalogue(),
    }


def _register_with_threadpoolctl() -> None:
    """Lets threadpoolctl see and limit our threads, where it is installed."""
    try:
        from threadpoolctl import LibController, register
    except ImportError:
        return

    class UnsupfastController(LibController):
        user_api = "unsupfast"
        internal_api = "unsupfast"
        filename_prefixes = (os.path.splitext(os.path.basename(_core.__file__))[0].split(".")[0],)
        check_symbols = ("unsupfast_get_num_threads", "unsupfast_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.unsupfast_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.unsupfast_set_num_threads(num_threads)

        def get_version(self) -> str:
            return str(_core.build_facts()["version"])

    register(UnsupfastController)


_register_with_threadpoolctl()
