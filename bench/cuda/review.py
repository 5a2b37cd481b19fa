"""What the compiler made of the CUDA kernels, read from a build's objects, as a Markdown table.

By architecture and family of kernels: how many there are, the most registers and bytes of stack a
thread has, the share of instructions that go to its local memory (spilled registers, and the copy
of sums that an epilogue indexes), what the tensor cores and the bulk copies are asked for, and
float atomics, of which there must be none::

    cmake -S . -B build/cuda -DUNSUPFAST_CUDA=ON ... && cmake --build build/cuda
    python bench/cuda/review.py build/cuda

Needs cuobjdump and nvdisasm of the CUDA toolkit (``--tools`` is their folder).
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import subprocess
from pathlib import Path

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")
USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")
# Instructions that are named in the table, by how they begin.
NAMED = ("HGMMA", "HMMA", "IMMA", "UBLKCP")
FLOAT_ATOMIC = re.compile(r"(RED|ATOM|ATOMG|ATOMS|REDG)\.\S*(F16|F32|F64|BF16)")


def read(tool: str, option: str, path: Path) -> list[str]:
    done = subprocess.run([tool, option, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class Family:
    """What is known of a family's kernels for one architecture."""

    def __init__(self) -> None:
        self.kernels = self.registers = self.stack = 0
        self.count: collections.Counter[str] = collections.Counter()

    def see(self, instruction: str) -> None:
        self.count["all"] += 1
        if instruction.startswith(("LDL", "STL")):
            self.count["local"] += 1
        if FLOAT_ATOMIC.match(instruction):
            self.count["atomic"] += 1
        for name in NAMED:
            if instruction.startswith(name):
                self.count[name] += 1

    def row(self, arch: str, family: str) -> str:
        local = 100 * self.count["local"] / max(1, self.count["all"])
        named = ", ".join(f"{self.count[n]} {n}" for n in NAMED if self.count[n])
        cells = [arch, family, self.kernels, self.registers, self.stack, f"{local:.1f} %", named]
        return "| " + " | ".join(map(str, [*cells, self.count["atomic"]])) + " |"


def review(path: Path, family: str, tool: str, into: dict[tuple[str, str], Family]) -> None:
    """Adds what an object holds, for every architecture it has code for."""
    arch = ""
    for option in ("-res-usage", "-sass"):
        for line in read(tool, option, path):
            if found := re.match(r"arch = (sm_\w+)", line):
                arch = found[1]
            known = into.setdefault((arch, family), Family())
            if usage := USAGE.search(line):
                known.kernels += 1
                known.registers = max(known.registers, int(usage[1]))
                known.stack = max(known.stack, int(usage[2]))
            elif instruction := INSTRUCTION.match(line):
                known.see(instruction[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path, help="folder of a build with CUDA")
    parser.add_argument("--tools", default="/usr/local/cuda/bin")
    args = parser.parse_args()
    os.environ["PATH"] = f"{args.tools}:{os.environ['PATH']}"
    found: dict[tuple[str, str], Family] = {}
    for path in sorted(args.build.rglob("cuda.cu.o")):
        review(path, path.parent.name, "cuobjdump", found)
    print("| | kernels of | | registers | stack | local | asks for | float atomics |")
    print("|---|---|---|---|---|---|---|---|")
    for (arch, family), known in sorted(found.items()):
        if known.kernels:
            print(known.row(arch, family))


if __name__ == "__main__":
    main()
