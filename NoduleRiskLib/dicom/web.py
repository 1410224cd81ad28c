"""A DICOMweb server: a CT's series comes from it by its UID, and objects are stored there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import NoduleRiskError
from ..imaging.reading import read
from ..imaging.shown import shown
from ..imaging.volume import Volume

#: Environment variable with a bearer token, for servers that ask for one.
TOKEN = "NODULERISK_DICOMWEB_TOKEN"
#: Seconds until a server has to take the call (and each further megabyte), and until it has to go on answering.
TIMEOUTS = (20, 120)
#: No answer is read beyond so many bytes: 2,800 uncompressed slices of 512 x 512 pixels are 1.5 GB.
LARGEST = 4 * 2**30
#: Study and series, where the address itself names them.
NAMED = re.compile(r"(?P<base>.*?)/studies/(?P<study>[^/]+)/series/(?P<series>[^/]+)/?", re.DOTALL)
#: Failure reasons of a single object (PS3.18 table I.2-2) that a user can do something about, by their first digits.
REASONS = {
    0xA7: "it is full or out of memory",
    0xA9: "it does not take this kind of object",
    0xC0: "it does not understand the object",
    0x01: "it failed while it stored the object, does not take this kind, or does not let this user store",
}
#: What servers answer (HTTP status), in words that go on after "the server".
STATUS = {
    401: "wants another user name, password or token",
    403: "does not allow this user to do that",
    404: "knows no such address or series",
    406: "cannot send the images in the form in which it holds them",
    409: "refused the objects",
    413: "does not take objects of this size",
    429: "is busy",
    503: "is busy or full",
    507: "is full",
}


def is_address(text: str) -> bool:
    """Whether what stands where a folder may stand is a server's address.

    >>> is_address("https://pacs.example.org/dicom-web"), is_address("C:/ct")
    (True, False)
    """
    return text.lower().startswith(("http://", "https://"))


class Server:
    """A DICOMweb server.

    Parameters
    ----------
    address : str
        Its base URL, such as ``https://pacs.example.org/dicom-web``. User name and password may stand in it or, better,
        in ``~/.netrc``; a token comes from the environment variable ``TOKEN``. What the address names of study and
        series is kept for ``fetch``.

    Attributes
    ----------
    name : str
        The address as sentences show it: without user name and password.

    Raises
    ------
    NoduleRiskError
        If it is no address, or dicomweb-client is missing.
    """

    def __init__(self, address: str) -> None:
        named = NAMED.fullmatch(address.rstrip("/"))
        self._study, self._series = (named["study"], named["series"]) if named else ("", "")
        try:
            parts = urlsplit(named["base"] if named else address.rstrip("/"))
            host = parts.netloc.rpartition("@")[2]
            login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
            whole = bool(parts.hostname) and parts.scheme in ("http", "https") and (parts.port or 1) > 0
        except ValueError:
            whole = False
        # What is no address may still hold a password.
        if not whole or parts.query or parts.fragment:
            raise NoduleRiskError(
                "That is no address of a DICOMweb server: give its base, such as https://pacs.example.org/dicom-web."
            )
        self.name = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self._client = _client(self.name, host, login)

    def fetch(self, folder: Path, series_uid: str | None = None, done: Callable[[], None] = lambda: None) -> str:
        """Write the images of a series into a folder.

        Parameters
        ----------
        folder : Path
            An empty one.
        series_uid : str, optional
            SeriesInstanceUID; may be left out if the address names it.
        done : callable, optional
            Called after each image.

        Returns
        -------
        str
            The series' UID.

        Raises
        ------
        NoduleRiskError
            If the server is away, refuses, has no such series or breaks off.
        """
        uid = series_uid or self._series
        if not uid:
            raise NoduleRiskError(
                f"{self.name} holds many series: choose one by its SeriesInstanceUID (on the command line: --series)."
            )
        if not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise NoduleRiskError(f"{shown(uid)} is no SeriesInstanceUID: those are digits and points.")
        with self._told("Nothing was read"):
            study, expected = self._found(uid)
            # As they are stored: the reader decodes more than servers can.
            images = self._client.iter_series(study, uid, media_types=(("application/dicom", "*"),))
            count = 0
            for count, image in enumerate(images, 1):
                image.save_as(folder / f"{count:05}.dcm")
                done()
        if count < expected:
            raise NoduleRiskError(
                f"{self.name} broke off after {count} of {expected} images. Nothing was read: try again."
            )
        return uid

    def _found(self, uid: str) -> tuple[str, int]:
        """The study of a series, and how many images it has (0 if the server does not say)."""
        found = self._client.search_for_series(
            self._study or None,
            search_filters={"SeriesInstanceUID": uid},
            fields=["StudyInstanceUID", "NumberOfSeriesRelatedInstances"],
        )
        series = [one for one in found if _value(one, "0020000E", uid) == uid]
        studies = {str(_value(one, "0020000D", self._study)) for one in series} - {""}
        if len(studies) != 1:
            raise NoduleRiskError(
                f"{self.name} holds no series {uid}: check the UID."
                if not studies
                else f"{self.name} holds the series {uid} in {len(studies)} studies: give the address of one of them, "
                f"{self.name}/studies/UID/series/{uid}."
            )
        return studies.pop(), int(_value(series[0], "00201209", 0))

    def store(self, objects: Sequence[Any], done: Callable[[], None] = lambda: None) -> None:
        """Store DICOM objects, one after the other; those that the server holds already change nothing.

        Parameters
        ----------
        objects : sequence of pydicom.Dataset
        done : callable, optional
            Called after each object.

        Raises
        ------
        NoduleRiskError
            If the server is away, refuses, is full or breaks off. Those before are stored; all may be sent again.
        """
        for number, one in enumerate(objects):
            stored = f"{number} of {len(objects)} DICOM objects were stored, and all may be sent again"
            with self._told(stored):
                answer = self._client.store_instances([one])
                confirmed = {
                    str(item.get("ReferencedSOPInstanceUID")) for item in answer.get("ReferencedSOPSequence") or ()
                }
                failed = [int(item.get("FailureReason") or 0) for item in answer.get("FailedSOPSequence") or ()]
            if failed or str(one.SOPInstanceUID) not in confirmed:
                why = (
                    REASONS.get(failed[0] >> 8, f"failure reason {failed[0]:04X}") if failed else "it confirmed nothing"
                )
                raise NoduleRiskError(f"{self.name} did not store a {shown(one.Modality)}: {why}. {stored}.")
            done()

    @contextmanager
    def _told(self, state: str) -> Iterator[None]:
        """Whatever goes wrong with the server, in one sentence; ``state`` says what came of the whole until then."""
        import requests.exceptions as http

        try:
            yield
        except NoduleRiskError:
            raise
        except http.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            what = STATUS.get(code, "failed" if code >= 500 else "refused")
            raise NoduleRiskError(f"The server {self.name} {what} (HTTP {code}). {state}.") from error
        except http.SSLError as error:
            raise NoduleRiskError(
                f"The server {self.name} cannot be trusted (its certificate could not be verified): have it mended, or "
                f"name your hospital's certificates in REQUESTS_CA_BUNDLE. {state}."
            ) from error
        except http.TooManyRedirects as error:
            raise NoduleRiskError(
                f"The server {self.name} sends on to another address: give that one. {state}."
            ) from error
        except http.Timeout as error:
            raise NoduleRiskError(f"The server {self.name} does not answer: try again later. {state}.") from error
        except (http.ChunkedEncodingError, http.ContentDecodingError) as error:
            raise NoduleRiskError(f"The server {self.name} broke off: try again. {state}.") from error
        except http.ConnectionError as error:
            raise NoduleRiskError(
                f"The server {self.name} is not there or broke off: check the address and the network. {state}."
            ) from error
        # What follows no standard raises whatever its bytes happen to mean.
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise NoduleRiskError(
                    f"Images could not be written ({error.strerror}): free some space. {state}."
                ) from (error)
            raise NoduleRiskError(
                f"The server {self.name} answers with what is no DICOMweb: check the address. {state}."
            ) from error


def read_series(
    address: str | Server, series_uid: str | None = None, done: Callable[[], None] = lambda: None
) -> Volume:
    """The CT that a series on a DICOMweb server makes; its files are kept nowhere.

    Parameters
    ----------
    address : str or Server
    series_uid : str, optional
        SeriesInstanceUID; may be left out if the address names it, as in ``.../studies/1.2/series/1.2.3``.
    done : callable, optional
        Called after each image.

    Raises
    ------
    NoduleRiskError
        As ``Server.fetch`` and ``imaging.reading.read`` do.
    """
    server = address if isinstance(address, Server) else Server(address)
    with tempfile.TemporaryDirectory(prefix="nodulerisk-") as folder:
        uid = server.fetch(Path(folder), series_uid, done)
        return replace(read(folder, uid), name=uid)


def _value(found: Any, tag: str, default: Any) -> Any:
    """The first value of an element in DICOM's JSON."""
    values = found.get(tag, {}).get("Value") or [default]
    return values[0]


def _client(base: str, host: str, login: tuple[str, str] | None) -> Any:
    """A client that verifies certificates, follows no redirection, waits and reads no longer than it has to."""
    try:
        import dicomweb_client
        import requests
        from requests.adapters import HTTPAdapter
    except ImportError as error:
        raise NoduleRiskError(
            "DICOMweb needs dicomweb-client, which is not installed: run python -m pip install 'NoduleRisk[dicom]'."
        ) from error

    class Bounded(HTTPAdapter):  # type: ignore[misc]
        """Answers that are read no further than ``LARGEST``."""

        def send(self, *arguments: Any, **more: Any) -> Any:
            response = super().send(*arguments, **more)
            whole = response.iter_content

            def chunks(*arguments: Any, **more: Any) -> Iterator[bytes]:
                left = LARGEST
                for chunk in whole(*arguments, **more):
                    left -= len(chunk)
                    if left < 0:
                        raise NoduleRiskError(f"{base} sends more than {LARGEST / 2**30:g} GB: that is no CT.")
                    yield chunk

            response.iter_content = chunks
            return response

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Bounded())
    # Neither images nor a password go to where nobody sent them.
    session.max_redirects = 0
    session.auth = login
    token = os.environ.get(TOKEN)
    if token and not login:
        session.headers["Authorization"] = f"Bearer {token}"
    # What is stored is confirmed in JSON; other calls say themselves what they take.
    session.headers["Accept"] = "application/dicom+json"
    client = dicomweb_client.DICOMwebClient(base, session, timeout=TIMEOUTS)
    # The user sends again: a client that tries five times looks as if it hung.
    client.set_http_retry_params(retry=False)
    # With its port, which the client leaves out.
    client.host = host
    return client
