"""What would be lost, doubled or told to others if a DICOMweb server were spoken to in another way."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from test_commands import Answer, assert_refused, run

pytest.importorskip("dicomweb_client", reason="DICOMweb needs dicomweb-client: pip install 'NoduleRisk[dicom]'.")

from NoduleRiskLib.cli import commands
from NoduleRiskLib.dicom import web
from NoduleRiskLib.dicom.reading import read_assessments
from NoduleRiskLib.dicom.web import Server, read_series
from NoduleRiskLib.dicom.writing import dicom_objects
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.result_folder import CSV
from Testing.unit.dicom.made_series import LAYOUT, found_in
from Testing.unit.dicom.orthanc import free_port, running

POINT = ("--point", "-37.3", "61.8", "-204.6")
#: Who must never stand in a sentence.
LOGIN = "doctor:s3cret@"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' servers are on this computer."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(web.TOKEN, raising=False)


def instances(address: str) -> dict[str, set[str]]:
    """SOPInstanceUIDs on a server by their modality, as QIDO tells them."""
    found: dict[str, set[str]] = {}
    for one in Server(address)._client.search_for_instances(fields=["Modality"]):
        found.setdefault(one["00080060"]["Value"][0], set()).add(one["00080018"]["Value"][0])
    return found


# --- a real one ---


def test_orthanc_keeps_what_was_read_from_it_and_sending_twice_changes_nothing(
    ct: Volume, ct_folder: Path, graded: Assessment, tmp_path: Path
) -> None:
    assert ct.dicom is not None
    images = [pydicom.dcmread(path) for path in sorted(ct_folder.iterdir())]
    port = free_port()
    with running(tmp_path / "orthanc", port) as address:
        Server(address).store(images)
        named = f"{address}/studies/{ct.dicom.study_uid}/series/{ct.dicom.series_uid}"
        for given in ((address, ct.dicom.series_uid), (named, None)):
            fetched = read_series(*given)
            assert fetched.digest == ct.digest and fetched.dicom == ct.dicom
        with pytest.raises(NoduleRiskError, match=r"holds no series 1\.2\.3\.4: check the UID"):
            read_series(address, "1.2.3.4")
        with pytest.raises(NoduleRiskError, match="choose one by its SeriesInstanceUID"):
            read_series(address)

        given = ("assess", address, "--series", ct.dicom.series_uid, *POINT, "--out", tmp_path / "out")
        answer = run(*given, "--store", address)
        assert answer.code == 0, answer.err
        kept = instances(address)
        assert {kind: len(uids) for kind, uids in kept.items()} == {"CT": len(images), "SEG": 1, "SR": 1, "OT": 1}
        answer = run(*given, "--store", address)
        assert answer.code == 0, answer.err
        answer = run("send", tmp_path / "out" / "dicom", address)
        assert answer.code == 0 and "3 DICOM objects are on" in answer.out
        assert instances(address) == kept
        (back,) = read_from(address, ct, tmp_path)
        assert back.nodule is not None and graded.nodule is not None
        assert back.nodule.suspicion_probability == graded.nodule.suspicion_probability
    # Now it is away: the results and the objects are there all the same, and may be sent once it is back.
    answer = run("assess", ct_folder, *POINT, "--out", tmp_path / "away", "--store", address)
    assert answer.code == 1 and "is not there" in answer.err and f"nodulerisk send {tmp_path / 'away'}" in flat(answer)
    assert (tmp_path / "away" / CSV).exists() and len(list((tmp_path / "away" / "dicom").iterdir())) == 3
    with running(tmp_path / "orthanc", port) as address:
        assert run("send", tmp_path / "away" / "dicom", address).code == 0
        assert instances(address) == kept


def read_from(address: str, ct: Volume, folder: Path) -> list[Assessment]:
    """The assessments that a server's report and segmentation hold."""
    client = Server(address)._client
    (folder / "back").mkdir()
    for one in client.search_for_instances(fields=["Modality"]):
        study, series, uid, kind = (one[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018", "00080060"))
        if kind in ("SEG", "SR"):
            client.retrieve_instance(study, series, uid).save_as(folder / "back" / f"{kind}.dcm")
    return read_assessments(folder / "back", ct, LAYOUT)


def flat(answer: Answer) -> str:
    return " ".join(answer.err.split())


# --- those that fail ---

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """The address of a server that replies so to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            reply(self)

        def end_headers(self) -> None:
            # Without being told, the client may send on a connection that is just being closed.
            self.send_header("Connection", "close")
            super().end_headers()

        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                # What is left unread when the connection closes resets it, and the answer is lost.
                self.rfile.readline()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://{LOGIN}127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def body(status: int, data: bytes, kind: str = "application/dicom+json", length: int | None = None) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def failed(reason: int) -> bytes:
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def send_on(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(307)
    handler.send_header("Location", "http://127.0.0.1:9/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


BROKEN: dict[str, tuple[Reply, str]] = {
    "wants a password": (body(401, b""), "wants another user name, password or token"),
    "refuses": (body(403, b""), "does not allow"),
    "has no such address": (body(404, b"<html>"), "no such address"),
    "is full": (body(507, b""), "is full"),
    "is busy": (body(503, b""), "is busy or full"),
    "fails": (body(500, b"stack trace"), "failed"),
    "breaks off": (body(200, b"{", length=500), "broke off"),
    "hangs up": (hang_up, "broke off"),
    "sends on": (send_on, "sends on to another address"),
    "is a web site": (body(200, b"<html>Welcome", "text/html"), ""),
    "answers with half a JSON": (body(200, b'[{"0020'), "no DICOMweb"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_server_that_fails_is_told_in_one_sentence(ct: Volume, tmp_path: Path, kind: str) -> None:
    reply, words = BROKEN[kind]
    objects = dicom_objects(ct, [found_in(ct)])
    with answering(reply) as address:
        server = Server(address)
        for call in (lambda: server.fetch(tmp_path, "1.2.3"), lambda: server.store(objects)):
            with pytest.raises(NoduleRiskError) as told:
                call()
            assert_sentence(str(told.value), words)
            assert "Nothing was read" in str(told.value) or f"0 of {len(objects)}" in str(told.value)
    assert not list(tmp_path.iterdir())


def assert_sentence(text: str, words: str) -> None:
    assert words in text and text.endswith(".") and "\n" not in text
    assert "127.0.0.1" in text and "s3cret" not in text and "doctor" not in text


@pytest.mark.parametrize(
    ("reason", "words"),
    [(0xA700, "full or out of memory"), (0xC000, "does not understand"), (0x0122, "does not take this kind")],
)
def test_an_object_that_is_not_taken_is_told_with_its_reason(ct: Volume, reason: int, words: str) -> None:
    with answering(body(200, failed(reason))) as address, pytest.raises(NoduleRiskError) as told:
        Server(address).store(dicom_objects(ct, [found_in(ct)]))
    assert_sentence(str(told.value), words)


def test_what_is_not_confirmed_is_not_taken_for_stored(ct: Volume) -> None:
    for data in (b"{}", b""):
        with answering(body(200, data)) as address, pytest.raises(NoduleRiskError) as told:
            Server(address).store(dicom_objects(ct, [found_in(ct)]))
        assert_sentence(str(told.value), "did not store a SEG: it confirmed nothing")


def test_a_series_of_which_images_are_missing_is_not_read(ct_folder: Path, tmp_path: Path) -> None:
    first = sorted(ct_folder.iterdir())[0].read_bytes()
    found = {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": ["1.2.3"]}}
    found["00201209"] = {"vr": "IS", "Value": [2]}  # type: ignore[dict-item]
    part = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + first + b"\r\n--B--"

    def reply(handler: BaseHTTPRequestHandler) -> None:
        if "/studies/" in handler.path:
            body(200, part, 'multipart/related; type="application/dicom"; boundary=B')(handler)
        else:
            body(200, json.dumps([found]).encode())(handler)

    with answering(reply) as address, pytest.raises(NoduleRiskError) as told:
        Server(address).fetch(tmp_path, "1.2.3")
    assert_sentence(str(told.value), "after 1 of 2 images")


def test_no_answer_is_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LARGEST", 10_000)
    with answering(body(200, b" " * 20_000)) as address, pytest.raises(NoduleRiskError) as told:
        Server(address).fetch(tmp_path, "1.2.3")
    assert_sentence(str(told.value), "that is no CT")


def test_the_login_is_sent_and_the_token_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        body(200, b"[]")(handler)

    monkeypatch.setenv(web.TOKEN, "abc")
    with answering(reply) as address:
        for one in (address, address.replace(LOGIN, "")):
            with pytest.raises(NoduleRiskError, match="holds no series"):
                Server(one).fetch(tmp_path, "1.2.3")
    assert seen == ["Basic ZG9jdG9yOnMzY3JldA==", "Bearer abc"]


@pytest.mark.parametrize(
    "address",
    ["ftp://host/x", "http://", f"http://{LOGIN}host:99999999/", f"https://{LOGIN}host/x?token=1", "http://[1/"],
)
def test_what_is_no_address_is_told_before_anything_else(
    ct_folder: Path, tmp_path: Path, monkeypatch: Any, address: str
) -> None:
    monkeypatch.setattr(commands, "assessed", lambda *given: pytest.fail("it was assessed"))
    answer = run("assess", ct_folder, *POINT, "--out", tmp_path / "out", "--store", address)
    assert_refused(answer, "no address of a DICOMweb server")
    assert "s3cret" not in answer.err and not (tmp_path / "out").exists()


def test_what_was_not_stored_is_kept(
    ct: Volume, ct_folder: Path, graded: Assessment, tmp_path: Path, monkeypatch: Any
) -> None:
    with answering(body(507, b"")) as address:
        answer = run("assess", ct_folder, *POINT, "--out", tmp_path / "out", "--store", address)
        assert answer.code == 1 and "is full" in answer.err and "s3cret" not in answer.err + answer.out
        assert f"nodulerisk send {tmp_path / 'out' / 'dicom'}" in flat(answer)
        assert len(list((tmp_path / "out" / "dicom").iterdir())) == 3 and (tmp_path / "out" / CSV).exists()
        assert_refused(run("send", tmp_path / "out" / "dicom", address), "is full")
        assert_refused(run("send", tmp_path, address), "holds no .dcm files")


def test_certificates_are_verified_and_redirections_not_followed() -> None:
    session = Server("https://127.0.0.1:1/dicom-web")._client._session
    assert session.verify is True and session.max_redirects == 0
    assert np.all(np.array(web.TIMEOUTS) > 0)
