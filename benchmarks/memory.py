"""What a process holds, as Linux tells it."""

import re
from pathlib import Path


def resident(process: int | str = "self") -> dict[str, int]:
    """Kilobytes now ("VmRSS") and at most ("VmHWM")."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    return {name: int(kilobytes) for name, kilobytes in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}
