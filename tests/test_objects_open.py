"""Addresses, settings and credentials of object stores, and what opening one loads, shows and survives."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_faults import FaultyProxy
from s3_server import SECRET, S3Server, environment_for, s3_server  # noqa: F401 - a fixture, used by its name

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.gcs import _federation
from trading_runtime.objects.open import open_objects
from trading_runtime.objects.s3 import open_s3

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "pass-word-of-somebody"
MINIO = {
    "AWS_ENDPOINT_URL": "https://minio.example.com:9000",
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": SECRET,
}


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyProxy]:  # noqa: F811 - the fixture of that name
    made = FaultyProxy(s3_server.endpoint)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("address", "environment", "label"),
    [
        ("results/objects", {}, "results/objects"),
        ("/data/objects", {}, "/data/objects"),
        ("file:///data/my%20objects", {}, "/data/my objects"),
        ("memory://a-test", {}, "memory://a-test"),
        ("s3://bucket", {}, "s3://bucket"),
        ("s3://bucket/", {}, "s3://bucket"),
        ("s3://my.bucket/some/prefix/", {}, "s3://my.bucket/some/prefix"),
        ("s3://bucket/p", MINIO, "s3://bucket/p at https://minio.example.com:9000"),
        ("S3://bucket/p", {"AWS_ENDPOINT_URL_S3": "http://[::1]:1/", **MINIO}, "s3://bucket/p at http://[::1]:1"),
        ("gs://my_bucket/p", {}, "gs://my_bucket/p"),
        ("gs://bucket", {"STORAGE_EMULATOR_HOST": "localhost:4443"}, "gs://bucket at http://localhost:4443"),
    ],
)
def test_an_address_becomes_a_label(address: str, environment: dict[str, str], label: str) -> None:
    store = open_objects(address, environment)
    assert store.label == label
    assert SECRET not in repr(store)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "the address of the object store is empty"),
        ("gcs://bucket", "did you mean gs://"),
        (
            "azure://bucket",
            "no object store begins with azure://, there are file://, s3://, gs://, memory:// and folders",
        ),
        (f"s3://name:{PASSWORD}@bucket/p", "must not hold credentials"),
        (f"s3://bucket/p?secret={PASSWORD}", "neither \\? nor #"),
        (f"gs://bucket/p#{PASSWORD}", "neither \\? nor #"),
        ("s3://", "'' is not the name of a bucket"),
        ("s3://Bucket", "'Bucket' is not the name of a bucket"),
        ("s3://bucket/a//b", "what follows the bucket"),
        ("s3://bucket/a b", "what follows the bucket"),
        ("s3://bucket/../b", "what follows the bucket"),
        ("s3://bucket/" + "x/" * 160, "at most 300 characters"),
        ("file://host/data", "file:///data"),
        ("file://", "file:///data"),
    ],
)
def test_a_wrong_address_is_told_in_one_line_without_its_secret(address: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_objects(address, {})
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_ENDPOINT_URL": "http://minio.storage.svc:9000"}, "AWS_ALLOW_HTTP=true"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1.example.com"}, "AWS_ALLOW_HTTP=true"),
        ({"AWS_ENDPOINT_URL": f"https://name:{PASSWORD}@minio:9000"}, "must not have a name or password"),
        ({"AWS_ENDPOINT_URL": "minio:9000"}, "AWS_ENDPOINT_URL: must be an address such as"),
        ({"AWS_ENDPOINT_URL_S3": "https://minio:port"}, "AWS_ENDPOINT_URL_S3: must be an address such as"),
        ({"AWS_ENDPOINT_URL": f"https://minio?key={PASSWORD}"}, "must be an address such as"),
        ({"AWS_ALLOW_HTTP": "perhaps"}, "AWS_ALLOW_HTTP: must be true or false"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID is missing"),
        ({"AWS_SECRET_ACCESS_KEY": " "}, "AWS_SECRET_ACCESS_KEY is missing"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "there are no credentials"),
        ({"AWS_SECRET_ACCESS_KEY_FILE": "/nowhere"}, "are both set"),
        ({"AWS_SECRET_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY_FILE": "/nowhere"}, "/nowhere cannot be read"),
        ({"AWS_CA_BUNDLE": "/nowhere"}, "AWS_CA_BUNDLE: /nowhere cannot be read"),
    ],
)
def test_wrong_settings_of_s3_are_told_by_name_without_their_secrets(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_objects("s3://bucket/p", {**MINIO, **environment})
    assert PASSWORD not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_plain_http_beyond_this_machine_must_be_said() -> None:
    environment = {**MINIO, "AWS_ENDPOINT_URL": "http://minio.storage.svc:9000", "AWS_ALLOW_HTTP": "true"}
    assert open_objects("s3://bucket", environment).label == "s3://bucket at http://minio.storage.svc:9000"


def signed_with(proxy: FaultyProxy) -> str:
    return proxy.headers[-1].get("authorization", "").split("Credential=")[-1].split("/aws4_request")[0]


def test_credentials_and_region_reach_the_server_from_every_place_they_may_lie_in(
    proxy: FaultyProxy,
    s3_server: S3Server,  # noqa: F811 - the fixture of that name
    tmp_path: Path,
) -> None:
    bucket = s3_server.new_bucket()
    (tmp_path / "key").write_text("key-of-a-file\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "profiles").write_text(
        f"[default]\naws_access_key_id = of-default\naws_secret_access_key = {SECRET}\n"
        f"[research]\naws_access_key_id = of-research\naws_secret_access_key = a%{SECRET}\naws_session_token = t\n"
    )
    base = {"AWS_ENDPOINT_URL": proxy.endpoint}
    profiles = {**base, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "profiles")}
    files = {"AWS_ACCESS_KEY_ID_FILE": str(tmp_path / "key"), "AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret")}
    direct = {"AWS_ACCESS_KEY_ID": "direct", "AWS_SECRET_ACCESS_KEY": SECRET}
    for environment, key_id, region, token in [
        ({**base, **direct}, "direct", "us-east-1", None),
        ({**base, **direct, "AWS_SESSION_TOKEN": "passing"}, "direct", "us-east-1", "passing"),
        ({**base, **direct, "AWS_DEFAULT_REGION": "eu-west-1"}, "direct", "eu-west-1", None),
        ({**profiles, **direct, "AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "x"}, "direct", "eu-north-1", None),
        ({**base, **files}, "key-of-a-file", "us-east-1", None),
        (profiles, "of-default", "us-east-1", None),
        ({**profiles, "AWS_PROFILE": "research"}, "of-research", "us-east-1", "t"),
    ]:
        store = open_objects(f"s3://{bucket}/p", environment)
        store.put("x", b"1")
        assert signed_with(proxy).split("/")[0] == key_id
        assert signed_with(proxy).split("/")[2] == region
        assert proxy.headers[-1].get("x-amz-security-token") == token
        assert SECRET not in f"{store!r} {store._opened!r} {store._opened.config}"
    store = open_objects(f"s3://{bucket}/p", {**base, "AWS_SKIP_SIGNATURE": "true"})
    with pytest.raises(ConfigurationError, match="the credentials are wrong or do not allow this"):
        store.get("x")
    assert "authorization" not in proxy.headers[-1]


@pytest.mark.parametrize("content", ["no profile", "[default]\nkey", "[default]\naws_access_key_id = a\n", "[other]\n"])
def test_a_file_of_profiles_that_cannot_be_used_is_told_without_its_content(tmp_path: Path, content: str) -> None:
    (tmp_path / "profiles").write_text(f"{content}\n{SECRET}")
    environment = {"AWS_ENDPOINT_URL": "https://minio", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "profiles")}
    with pytest.raises(ConfigurationError, match="AWS_SHARED_CREDENTIALS_FILE: ") as caught:
        open_objects("s3://bucket", environment)
    assert SECRET not in str(caught.value)


def test_a_certificate_is_trusted_only_through_its_bundle(s3_server: S3Server, tmp_path: Path) -> None:  # noqa: F811 - the fixture of that name
    both, bundle = certified(tmp_path)
    proxy = FaultyProxy(s3_server.endpoint, certificate=both)
    try:
        bucket, environment = s3_server.new_bucket(), environment_for(proxy.endpoint)
        trusting = open_objects(f"s3://{bucket}/p", {**environment, "AWS_CA_BUNDLE": str(bundle)})
        assert trusting.create("x", b"1")
        with pytest.raises(ConfigurationError, match="its certificate is not trusted; AWS_CA_BUNDLE"):
            open_s3(bucket, "p", environment, wait=lambda _: None).get("x")
    finally:
        proxy.stop()


def certified(folder: Path) -> tuple[Path, Path]:
    """A file with key and certificate for 127.0.0.1, and one with the certificate of who signed it."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, host = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "127.0.0.1")
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(authority)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    root = (
        builder.subject_name(authority)
        .public_key(authority_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        builder.subject_name(host)
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    (folder / "bundle.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return folder / "both.pem", folder / "bundle.pem"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "has no type"),
        ('{"type": "service_account"}', "cannot be opened"),
        ('{"type": "external_account"}', "cannot be used"),
        ('{"type": "nothing-known"}', "cannot be used"),
    ],
)
def test_google_credentials_that_cannot_be_used_are_told_by_file(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"GOOGLE_APPLICATION_CREDENTIALS.*{said}|{said}.*GOOGLE_APPLICATION"):
        open_objects("gs://bucket", {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}).exists("x")


class _TokenServer(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        answer = json.dumps({"access_token": "exchanged", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        return


def test_workload_identity_federation_exchanges_the_pods_token(tmp_path: Path) -> None:
    asked: list[str] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Handler", (_TokenServer,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        (tmp_path / "token").write_text("token-of-the-pod")
        (tmp_path / "federation.json").write_text(
            json.dumps(
                {
                    "type": "external_account",
                    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "token_url": f"http://127.0.0.1:{server.server_port}/v1/token",
                    "credential_source": {"file": str(tmp_path / "token")},
                }
            )
        )
        answer = _federation(str(tmp_path / "federation.json"))()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert answer["token"] == "exchanged"
    assert answer["expires_at"] is not None
    assert answer["expires_at"].tzinfo is not None
    assert len(asked) == 1
    assert "token-of-the-pod" in asked[0]
    assert "devstorage.read_write" in asked[0]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


def test_importing_and_using_a_folder_loads_no_library_of_the_outside(tmp_path: Path) -> None:
    done = run(
        """
        import sys
        import trading_runtime.objects.blobs, trading_runtime.objects.gcs, trading_runtime.objects.many
        import trading_runtime.objects.s3, trading_runtime.objects.seal
        from trading_runtime.objects.open import open_objects
        open_objects(sys.argv[1]).create("a/b", b"1")
        open_objects("s3://bucket", {})
        heavy = ("obstore", "google", "numba", "pyarrow", "ccxt", "kubernetes", "requests", "plotly", "boto3")
        print([name for name in heavy if name in sys.modules])
        """,
        str(tmp_path / "objects"),
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_using_s3_loads_obstore_and_nothing_else_of_the_outside(s3_server: S3Server) -> None:  # noqa: F811 - the fixture of that name
    done = run(
        """
        import json, sys
        from trading_runtime.objects.open import open_objects
        print(open_objects(sys.argv[1], json.loads(sys.argv[2])).create("a/b", b"1"))
        heavy = ("google", "numba", "pyarrow", "ccxt", "kubernetes", "requests", "plotly", "boto3")
        print([name for name in heavy if name in sys.modules], "obstore" in sys.modules)
        """,
        f"s3://{s3_server.new_bucket()}",
        json.dumps(s3_server.environment),
    )
    assert done.stdout.split("\n")[:2] == ["True", "[] True"], done.stderr


def test_a_forked_process_is_told_instead_of_hanging(s3_server: S3Server) -> None:  # noqa: F811 - the fixture of that name
    done = run(
        """
        import json, os, sys
        from trading_runtime.core.errors import TradingRuntimeError
        from trading_runtime.objects.open import open_objects
        address, environment = sys.argv[1], json.loads(sys.argv[2])
        store = open_objects(address, environment)
        store.create("a", b"1")
        if os.fork() == 0:
            for asked in (store, open_objects(address, environment)):
                try:
                    asked.get("a")
                except TradingRuntimeError as error:
                    print(error, flush=True)
            os._exit(0)
        os.wait()
        print(store.get("a"))
        """,
        f"s3://{s3_server.new_bucket()}",
        json.dumps(s3_server.environment),
    )
    lines = done.stdout.splitlines()
    assert lines[2:] == ["b'1'"], done.stderr
    assert all("was forked" in line and "start workers with spawn" in line for line in lines[:2])


def test_one_name_of_memory_is_one_store() -> None:
    open_objects("memory://one").create("a", b"1")
    assert open_objects("memory://one").get("a") == b"1"
    assert not open_objects("memory://other").exists("a")
