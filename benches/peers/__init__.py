"""What is installed beside us to be compared with. Each module starts one program."""

import subprocess
from dataclasses import dataclass


@dataclass
class Served:
    port: int
    process: subprocess.Popen
