"""Stand-ins for what measuring asks of the machine, handed in as `Probes`."""

from bertbench.records.record import SystemSettings
from bertbench.speed.blocks import Probes
from bertbench.speed.watch import Watch


class QuietWatch(Watch):
    """Sees nothing."""

    def findings(self):
        """Nothing."""
        return []


def quiet_machine(**probes):
    """Probes of a machine that nobody else uses."""
    return Probes(**({"busy_machine": list, "watch": QuietWatch, "system_settings": SystemSettings} | probes))
