"""Files from the web: from a real local server, with everything that can fail."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import httpcore
import pytest

from local_server import BODY, Fault
from lookalike.io import fetching, public_network
from lookalike.io.fetching import Fetcher, FetchLimits
from lookalike.io.hosts import Hosts
from lookalike.io.public_network import is_public

QUICK = {"pauses": (0.0, 0.0, 0.0), "interval": 0.0, "total_s": 5.0, "silence_s": 0.3}


def make_fetcher(*, allow_private: bool = True, **limits) -> Fetcher:
    return Fetcher(allow_private=allow_private, limits=FetchLimits(**QUICK | limits))


@pytest.fixture
def fetcher():
    return make_fetcher()


def reason(fetcher: Fetcher, address: str) -> str:
    try:
        fetcher.fetch(address)
    except OSError as error:
        return str(error.strerror)
    pytest.fail(f"{address} was fetched")


# Hosts


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.100.100.200", False),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("172.15.0.1", True),
        ("172.31.0.1", False),
        ("192.0.0.192", False),
        ("192.168.0.1", False),
        ("198.19.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2001:4860:4860::8888", True),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2002:7f00:1::", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("not an address", False),
    ],
)
def test_public_addresses(address, expected):
    assert is_public(address) == expected


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "①②⑦.⓪.⓪.①",
        "169.254.169.254",
    ],
)
def test_no_spelling_of_a_private_host_is_connected_to(server, host):
    server.serve("/a", BODY)
    address = f"http://{host}:{server.server_port}/a"
    assert reason(make_fetcher(allow_private=False), address)
    assert server.asked == []


def resolve_to(monkeypatch, *answers: list[str]) -> list[str]:
    """Let each look-up of a name give the next answer; return the names that are looked up."""
    names: list[str] = []
    remaining = list(answers)

    def getaddrinfo(host, port, **_options):
        names.append(host)
        answer = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in answer]

    monkeypatch.setattr(public_network.socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
def connections(monkeypatch):
    """The addresses that are connected to; each refuses."""
    made: list[str] = []

    def connect(_backend, host, port, *_options):
        made.append(host)
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return made


def test_the_connection_is_made_to_the_address_that_was_checked(
    monkeypatch, connections
):
    """A name that gives a public address first and a private one next reaches only the first."""
    names = resolve_to(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    fetcher = make_fetcher(allow_private=False)
    assert "cannot be reached" in reason(fetcher, "http://rebind.example/a")
    assert "127.0.0.1, is not on the public" in reason(
        fetcher, "http://rebind.example/a"
    )
    assert names == ["rebind.example"] * 2
    assert connections == ["93.184.215.14"]


def test_one_private_address_of_a_host_is_enough_to_refuse_it(monkeypatch, connections):
    resolve_to(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    fetcher = make_fetcher(allow_private=False)
    assert "10.0.0.1, is not on the public" in reason(fetcher, "http://two.example/a")
    assert connections == []


def test_each_redirect_is_checked(server, monkeypatch):
    """Only the first host counts as public here."""
    monkeypatch.setattr(public_network, "is_public", lambda text: text == "127.0.0.1")
    for target in (
        "http://169.254.169.254/latest/meta-data",
        f"http://127.0.0.2:{server.server_port}/a",
        f"//[::1]:{server.server_port}/a",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        f"http://name:secret@127.0.0.1:{server.server_port}/a",
    ):
        address = server.serve("/r", b"", faults=[Fault(status=302, location=target)])
        server.asked.clear()
        message = reason(make_fetcher(allow_private=False), address)
        assert "not on the public internet" in message or "not read" in message
        assert "secret" not in message
        assert [asked.path for asked in server.asked] == ["/r"]


# Answers


def test_a_request_says_who_asks_and_carries_nothing_else(server, fetcher):
    address = server.serve("/a.jpg?size=1", BODY)
    server.serve("/a.jpg", BODY)
    assert fetcher.fetch(f"{address}#top") == BODY
    headers = server.asked[0].headers
    assert headers["User-Agent"].startswith("lookalike/")
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert {name.lower() for name in headers} <= {
        "host",
        "user-agent",
        "accept-encoding",
    }


def test_five_redirects_are_followed(server, fetcher):
    hops = [Fault(status=status, location="/r") for status in (301, 302, 303, 307, 308)]
    address = server.serve("/r", BODY, faults=list(hops))
    assert fetcher.fetch(address) == BODY
    server.files["/r"].faults = [*hops, hops[0]]
    assert reason(fetcher, address) == "more than 5 redirects"


@pytest.mark.parametrize(
    "fault",
    [Fault(status=status) for status in (429, 500, 502, 503, 504)]
    + [Fault(cut=4096), Fault(stall_s=0.5)],
)
def test_a_passing_failure_is_retried(server, fetcher, fault):
    address = server.serve("/a", BODY, faults=[fault, fault])
    assert fetcher.fetch(address) == BODY
    assert len(server.asked) == 3


def test_a_lasting_failure_ends_after_four_attempts(server, fetcher):
    address = server.serve("/a", BODY, faults=[Fault(status=503)] * 9)
    assert reason(fetcher, address) == "the server answered 503 Service Unavailable"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, FileNotFoundError, "the server answered 404 Not Found"),
        (410, FileNotFoundError, "the server answered 410 Gone"),
        (403, PermissionError, "the server answered 403 Forbidden"),
        (204, OSError, "the server answered 204 No Content"),
        (418, OSError, "the server answered 418 I'm a Teapot"),
        (799, OSError, "the server answered 799"),
    ],
)
def test_a_refusal_is_final(server, fetcher, status, kind, message):
    address = server.serve("/a", BODY, faults=[Fault(status=status)])
    with pytest.raises(kind) as caught:
        fetcher.fetch(address)
    assert caught.value.strerror == message
    assert len(server.asked) == 1


@pytest.mark.parametrize("in_date", [False, True])
def test_retry_after_is_waited_for(server, fetcher, in_date):
    pause = formatdate(time.time() + 2, usegmt=True) if in_date else "1"
    fault = Fault(status=429, retry_after=pause)
    address = server.serve("/a", BODY, faults=[fault])
    start = time.monotonic()
    assert fetcher.fetch(address) == BODY
    # A date has whole seconds.
    assert time.monotonic() - start >= 0.99


@pytest.mark.parametrize(
    "pause",
    ["86400", pytest.param("9" * 400, id="nines"), "Fri, 31 Dec 9999 23:59:59 GMT"],
)
def test_a_host_that_asks_for_a_long_pause_is_left_alone(server, fetcher, pause):
    fault = Fault(status=503, retry_after=pause)
    address = server.serve("/a", BODY, faults=[fault])
    assert "asks to be left alone for 86,4" in reason(fetcher, address)
    assert "asks to be left alone" in reason(fetcher, server.serve("/b", BODY))
    assert len(server.asked) == 1


@pytest.mark.parametrize("pause", ["soon", "-5", "Fri, 31 Dec 1999 23:59:59 GMT", ""])
def test_a_senseless_retry_after_is_ignored(server, fetcher, pause):
    fault = Fault(status=503, retry_after=pause)
    assert fetcher.fetch(server.serve("/a", BODY, faults=[fault])) == BODY


# Bounds


@pytest.mark.parametrize("announce", [True, False])
def test_a_long_body_is_not_read_to_its_end(server, announce):
    endless = b"x" * 30_000_000
    address = server.serve("/a", endless, announce=announce)
    fetcher = make_fetcher(max_bytes=100_000)
    assert reason(fetcher, address).startswith("longer than the 100,000 bytes")
    assert server.sent() < 10_000_000
    assert len(server.asked) == 1


def test_a_slow_body_ends_at_the_deadline(server):
    address = server.serve("/a", BODY, pause_s=2)  # 50 seconds in all
    start = time.monotonic()
    message = reason(make_fetcher(total_s=0.5), address)
    assert message == "not complete after 0.5 s"
    assert time.monotonic() - start < 30


def raw_server(answer, pause_s: float = 0.0) -> str:
    """Start a server that sends bytes to one client, slowly if asked; return its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run():
        with listening, listening.accept()[0] as connection:
            connection.recv(4096)
            try:
                step = 1 if pause_s else len(answer) or 1
                for start in range(0, len(answer), step):
                    connection.sendall(answer[start : start + step])
                    time.sleep(pause_s)
            except OSError:
                pass

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/a"


def test_slow_headers_end_at_the_deadline():
    """Each wait is short, and there is no end of them."""
    address = raw_server(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000, pause_s=0.05)
    message = reason(make_fetcher(total_s=0.5), address)
    assert message == "not complete after 0.5 s"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 30_000, id="headers"),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        pytest.param(b"\0" * 100, id="zeros"),
        b"",
    ],
)
def test_a_broken_answer_is_a_failure(answer):
    fetcher = make_fetcher(pauses=())
    assert reason(fetcher, raw_server(answer)).startswith("the connection broke off")


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A certificate for ``localhost`` alone, with its key, that this process trusts."""
    x509 = pytest.importorskip("cryptography.x509", reason="needs cryptography")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    attribute = x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")
    name = x509.Name([attribute])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    host = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = builder.add_extension(host, critical=False).sign(key, hashes.SHA256())

    encoding = serialization.Encoding.PEM
    pem = signed.public_bytes(encoding)
    pem += key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(pem)
    trusting = ssl.create_default_context(cafile=str(path))
    monkeypatch.setattr(fetching, "trusted_certificates", lambda: trusting)
    return path


def test_the_certificate_must_be_that_of_the_host(server, certificate):
    """The connection is made to a number, and the certificate is compared with the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve("/a", BODY)
    fetcher = make_fetcher()
    address = f"https://localhost:{server.server_port}/a"
    assert fetcher.fetch(address) == BODY
    other_host = address.replace("localhost", "127.0.0.1")
    assert "CERTIFICATE_VERIFY_FAILED" in reason(fetcher, other_host)


def test_compressed_content_is_refused():
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
    assert reason(make_fetcher(), raw_server(answer)).startswith("the content is comp")


def test_requests_to_one_host_are_few_at_a_time(server):
    fetcher = make_fetcher(concurrent=3)
    addresses = []
    for number in range(9):
        fault = Fault(stall_s=0.05)
        addresses.append(server.serve(f"/{number}", b"x", faults=[fault]))
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(fetcher.fetch, addresses)) == [b"x"] * 9
    assert server.most_running == 3


def test_requests_to_one_host_start_at_intervals(server):
    fetcher = make_fetcher(interval=0.05)
    addresses = [server.serve(f"/{i}", b"x") for i in range(6)]
    start = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(fetcher.fetch, addresses))
    assert time.monotonic() - start >= 5 * 0.05


def test_hosts_that_are_not_in_use_are_forgotten():
    """A list may name millions of them. One that asked for a pause stays."""
    hosts = Hosts(concurrent=1, interval=0.0, longest_pause=1.0)
    hosts.pause("paused", 99)
    for number in range(3000):
        with hosts.turn(f"host{number}"):
            pass
    assert len(hosts._hosts) <= 1000
    with pytest.raises(OSError, match="left alone"), hosts.turn("paused"):
        pass


def test_without_the_network_nothing_is_asked(server, fetcher, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    message = reason(fetcher, server.serve("/a", BODY))
    assert message == "LOOKALIKE_OFFLINE forbids the network"
    assert server.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http:///a",
        "https://host:0/",
        "http://host:99999/",
        "http://[::1/",
        "http://ho st/",
        "http://a\nb/",
        pytest.param("http://" + "a" * 70_000, id="long"),
        "ftp://host/a",
        "http://name:secret@host/",
        "http://.../",
    ],
)
def test_an_unusable_address_has_a_reason(fetcher, address):
    message = reason(fetcher, address)
    assert message
    assert "secret" not in message
    assert len(message) < 200
