"""The proxies, each with the configuration that is shipped; only addresses are changed."""

import atexit
import re
import subprocess

import wire
from world import Failed, eventually

FILES = {
    "nginx": ("nginx/nginx.conf",),
    "nginx-more": ("nginx/nginx.conf",),
    "caddy": ("caddy/Caddyfile",),
    "haproxy": ("haproxy/haproxy.cfg", "haproxy/vestibule.lua"),
    "envoy-http": ("envoy-http/envoy.yaml",),
    "envoy-grpc": ("envoy-grpc/envoy.yaml",),
}


class Door:
    def __init__(self, name, deploy, work, world, application, programs):
        self.name = name
        self.port = wire.free_port()
        self.work = work / name
        self.work.mkdir()
        addresses = {8000: self.port, 3000: application.port, 8080: world.http, 9191: world.grpc}
        for file in FILES[name]:
            (self.work / file.split("/")[1]).write_text(self._filled(deploy / file, addresses))
        config = self.work / FILES[name][0].split("/")[1]
        program = programs[name.split("-")[0]]
        command = {
            "nginx": ["-p", self.work, "-c", config, "-g", "daemon off;"],
            "caddy": ["run", "--config", config, "--adapter", "caddyfile"],
            "haproxy": ["-db", "-f", config],
            "envoy": ["-c", config, "--concurrency", "1", "-l", "warn", "--disable-hot-restart"],
        }[name.split("-")[0]]
        self.log = open(self.work / "log", "w")
        self.process = subprocess.Popen(
            [program, *command],
            stdout=self.log,
            stderr=self.log,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.work)},
        )
        atexit.register(self.process.kill)
        eventually(f"{name} starts (see {self.work}/log)", self._is_up)

    def _is_up(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended: {(self.work / 'log').read_text()[-2000:]}")
        return wire.is_open(self.port)

    def _filled(self, file, addresses):
        text, changed = re.subn(
            r"\b(8000|3000|8080|9191)\b", lambda port: str(addresses[int(port[0])]), file.read_text()
        )
        if self.name == "nginx-more":
            # As the file says itself.
            text, taken_off = re.subn(r"(?m)^( *)#(load_module|more_clear)", r"\1\2", text)
            if taken_off != 2:
                raise Failed(f"{file}: where are the lines of headers-more?")
        if changed < 3 and file.suffix != ".lua":
            raise Failed(f"{file}: where are its addresses?")
        return text.replace("/etc/haproxy/", f"{self.work}/").replace("/run/nginx.pid", f"{self.work}/pid")

    def send(self, request, timeout=10.0):
        return wire.send(self.port, request, timeout)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
