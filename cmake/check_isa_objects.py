"""Checks that no inline function is compiled under the flags of two ISAs.

The linker keeps one copy of an inline function or template instance that several objects define.
Were that copy compiled with AVX-512, an older processor would stop at it with SIGILL. So a weak
symbol that an object of an ISA defines may stand in no object built with other flags.

    python cmake/check_isa_objects.py BUILD_DIR
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def weak_functions(obj: Path) -> set[str]:
    lines = subprocess.check_output(["nm", "--defined-only", str(obj)], text=True).splitlines()
    return {name for _, kind, name in (line.split(maxsplit=2) for line in lines) if kind == "W"}


def main(build_dir: str) -> int:
    homes: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    count = 0
    for obj in Path(build_dir).glob("CMakeFiles/*.dir/**/*.o"):
        flags = next(part for part in obj.parts if part.endswith(".dir")).removesuffix(".dir")
        if not flags.startswith(("usf_simd_", "_core")):
            continue
        count += 1
        # The base ISA has the flags of everything else.
        flags = flags.removeprefix("usf_simd_").replace("_core", "base")
        for name in weak_functions(obj):
            homes[name][flags].append(obj)
    shared = {name: isas for name, isas in homes.items() if len(isas) > 1}
    for name, isas in sorted(shared.items()):
        plain = subprocess.check_output(["c++filt", name], text=True).strip()
        print(f"defined under the flags of {', '.join(sorted(isas))}: {plain}")
        for objs in isas.values():
            print("    " + "\n    ".join(str(obj) for obj in objs))
    print(f"{count} objects, {len(shared)} inline functions shared between ISAs")
    return 1 if shared or not count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
