"""Compiles the native kernels when a wheel is made or the package is installed for development.

Where there is no compiler the package is installed without them and works, slower:
``isthmus doctor`` says so.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = Path(__file__).parent / "src" / "isthmus" / "kernels" / "native" / "build.py"


class NativeKernels(BuildHookInterface):
    """The hook that hatchling calls; see pyproject.toml."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        tools = runpy.run_path(str(BUILD))
        try:
            library = tools["build"]()
        except tools["BuildError"] as problem:
            print(f"isthmus is installed without native kernels: {problem}", file=sys.stderr)
            return
        build_data["artifacts"].append(str(library.relative_to(Path(self.root))))
        build_data["pure_python"] = False
        # Plain C, loaded with ctypes: of one platform, for every Python.
        platform = self.build_config.builder.get_best_matching_tag().rsplit("-", 1)[1]
        build_data["tag"] = f"py3-none-{platform}"
