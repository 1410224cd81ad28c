"""A real Orthanc with DICOMweb on a free loopback port, for as long as a test runs."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Where Debian's orthanc-dicomweb puts its plugin.
PLUGINS = Path("/usr/share/orthanc/plugins")
PLUGIN = "libOrthancDicomWeb.so"
#: Looks at the server before it has to be there.
TRIES = 600


def program() -> str:
    """Orthanc's path; skips the test where it or its plugin is not installed."""
    found = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin") or shutil.which("Orthanc")
    if not found or not (PLUGINS / PLUGIN).exists():
        pytest.skip("Orthanc is not installed: apt-get install orthanc orthanc-dicomweb")
    return found


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[str]:
    """The address of a server that keeps its files in ``folder``; a port of 0 takes a free one."""
    orthanc, port = program(), port or free_port()
    configuration = {
        "Name": "Testing",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGINS / PLUGIN)],
        "RemoteAccessAllowed": False,
        "HttpPort": port,
        "DicomServerEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([orthanc, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        for _ in range(TRIES):
            if process.poll() is not None or _answers(port):
                break
            time.sleep(0.05)
        if process.poll() is not None or not _answers(port):
            raise RuntimeError(f"Orthanc did not start: {(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/system", timeout=5):
            return True
    except OSError:
        return False
