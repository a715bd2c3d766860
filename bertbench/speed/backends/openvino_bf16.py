"""OpenVINO with its hint to compute in bfloat16, from the same float32 file.

On a processor without bfloat16 OpenVINO takes the hint, says nothing and computes in float32; such a figure would be
float32's under another name, so this back-end refuses to run there.
"""

from __future__ import annotations

from bertbench.specs.timing import ExecutionSettings
from bertbench.speed.backends.openvino import OpenVinoBackend, runtime


class OpenVinoBf16Backend(OpenVinoBackend):
    """As 'openvino', but for the precision."""

    dtypes = ("bf16",)
    precision = "bf16"

    def obstacle(self, settings: ExecutionSettings) -> str | None:
        """Return why it cannot run on this machine."""
        del settings
        if "BF16" in runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return None
        return "this processor does not compute in bfloat16, and OpenVINO would use float32 in its place"


PLUGIN = OpenVinoBf16Backend()
