"""workflow.py under uvicorn: one worker, with the loop and the parser in C."""

from entrance import TENANTS
from peers import Served
from processes import free_port


def start(bench, provider, environment):
    port, name = free_port(), "fastapi"
    settings = {
        **environment,
        **provider.settings,
        "DATABASE": f"sqlite:///{bench.work}/workflow.db",
        "ACCOUNTS": ",".join(f"{tenant}={called}" for tenant, called in TENANTS.items()),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        bench.python / "uvicorn", "--app-dir", bench.here / "peers", "workflow:app", "--port", str(port), "--workers", "1",
        "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    return Served(port, bench.processes.serve(bench.core, command, port, bench.work / f"{name}.log", settings))
