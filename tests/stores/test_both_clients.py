"""Both S3 clients send the same, whatever is configured: recorded on loopback and compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from jobtool.errors import StoreUnavailableError
from jobtool.md5 import md5_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Attributes, Entry, kind_of
from tests.stores.authority import Authority
from tests.stores.recorder import DATA, Recorder, Sent, recording

MODIFIED_NS = 1_445_412_480_000_000_000
ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint:plates"
VPC_ENDPOINT = "https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com"
ACCESS_POINT = "plates-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"
SSE = "x-amz-server-side-encryption"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A configuration, and where requests for the bucket must go.

    ``{proxy}``, ``{other}``, ``{plain}``, ``{tls}`` and ``{own}`` in a value stand for the ports of
    the recording servers, ``{ca}`` and ``{own_ca}`` for files of certificates. ``host`` is the host
    of the requests, ``path`` the part before ``/KEY``.
    """

    name: str
    host: str
    path: str = ""
    region: str | None = "eu-west-1"
    service: str | None = "s3"
    scheme: str = "https"
    route: str = "proxy"
    bucket: str = "bucket"
    table: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    config: str = ""
    told: dict[str, str] = field(default_factory=dict)
    clients: str = "both"


EU = {"AWS_DEFAULT_REGION": "eu-west-1"}
S3_EU = "bucket.s3.eu-west-1.amazonaws.com"
OTHER_SERVER = "http://127.0.0.1:{other}"
PROFILE_OF_ENDPOINT = """
[default]
services = lab
[services lab]
s3 =
  endpoint_url = http://127.0.0.1:{plain}
"""


def aws(name: str, host: str = S3_EU, **more: Any) -> Case:
    return Case(name=name, host=host, **{**more, "env": EU | more.get("env", {})})


def in_region(name: str, region: str, host: str, **more: Any) -> Case:
    return Case(name=name, region=region, host=host, table={"region": region}, **more)


def direct(name: str, kind: str = "plain", **more: Any) -> Case:
    scheme = "http" if kind == "plain" else "https"
    endpoint_url = f"{scheme}://127.0.0.1:{{{kind}}}"
    usual = {
        "host": f"127.0.0.1:{{{kind}}}",
        "path": "/bucket",
        "route": "direct",
        "scheme": scheme,
        "table": {"endpoint_url": endpoint_url},
        "env": {},
    }
    told = {**usual, **more}
    no_proxy = {"HTTPS_PROXY": "", "HTTP_PROXY": ""}
    told["env"] = {**EU, **(no_proxy if "proxy" not in name else {}), **told["env"]}
    return Case(name=name, **told)


def minio(name: str, **more: Any) -> Case:
    usual = {
        "host": "minio.example:9000",
        "path": "/bucket",
        "scheme": "http",
        "table": {"endpoint_url": "http://minio.example:9000"},
    }
    return aws(name, **{**usual, **more})


REGIONS = [
    in_region("us-east-1", "us-east-1", "bucket.s3.amazonaws.com"),
    aws("a region of the environment"),
    Case(name="no region", host="bucket.s3.amazonaws.com", region="us-east-1"),
    Case(name="a region of the profile", host=S3_EU, config="[default]\nregion = eu-west-1\n"),
    aws("AWS_REGION is obstore's alone", env={"AWS_REGION": "ap-south-1"}),
    in_region("China", "cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn"),
    in_region("GovCloud", "us-gov-west-1", "bucket.s3.us-gov-west-1.amazonaws.com"),
    in_region("a sovereign cloud", "eusc-de-east-1", "bucket.s3.eusc-de-east-1.amazonaws.eu"),
    in_region("an isolated region", "us-iso-east-1", "bucket.s3.us-iso-east-1.c2s.ic.gov"),
]
ENDPOINTS = [
    aws(
        "dual stack",
        "bucket.s3.dualstack.eu-west-1.amazonaws.com",
        env={"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ),
    aws(
        "dual stack of the profile",
        "bucket.s3.dualstack.eu-west-1.amazonaws.com",
        config="[default]\nuse_dualstack_endpoint = true\n",
    ),
    in_region(
        "FIPS",
        "us-east-2",
        "bucket.s3-fips.us-east-2.amazonaws.com",
        env={"AWS_USE_FIPS_ENDPOINT": "true"},
    ),
    aws(
        "accelerate",
        "bucket.s3-accelerate.amazonaws.com",
        config="[default]\ns3 =\n  use_accelerate_endpoint = true\n",
    ),
    Case(
        name="a VPC endpoint",
        host=VPC_ENDPOINT[8:],
        path="/plates",
        bucket="plates",
        region="us-east-1",
        table={"endpoint_url": VPC_ENDPOINT, "region": "us-east-1"},
    ),
    Case(
        name="a VPC endpoint by the bucket's name",
        host=f"plates.{VPC_ENDPOINT[8:]}",
        bucket="plates",
        region="us-east-1",
        table={"endpoint_url": VPC_ENDPOINT, "region": "us-east-1", "addressing_style": "virtual"},
    ),
    Case(
        name="AWS's endpoint in the table, another server's in the environment",
        host="s3.eu-west-1.amazonaws.com",
        path="/bucket",
        table={"endpoint_url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1"},
        env={"AWS_ENDPOINT_URL": OTHER_SERVER},
    ),
    Case(
        name="AWS's endpoint in the table, another server's for S3",
        host="s3.eu-west-1.amazonaws.com",
        path="/bucket",
        table={"endpoint_url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1"},
        env={"AWS_ENDPOINT_URL_S3": OTHER_SERVER},
    ),
    aws("AWS_ENDPOINT is obstore's alone", env={"AWS_ENDPOINT": OTHER_SERVER}),
    aws(
        "endpoints that are to be ignored",
        env={"AWS_ENDPOINT_URL": OTHER_SERVER, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    ),
    minio(
        "a server of the environment",
        table={},
        env={"AWS_ENDPOINT_URL": "http://minio.example:9000"},
    ),
    minio(
        "the more special variable counts",
        table={},
        env={"AWS_ENDPOINT_URL": OTHER_SERVER, "AWS_ENDPOINT_URL_S3": "http://minio.example:9000"},
    ),
    minio("the table counts more than the environment", env={"AWS_ENDPOINT_URL_S3": OTHER_SERVER}),
    minio(
        "a server below a path",
        path="/s3/bucket",
        table={"endpoint_url": "http://minio.example:9000/s3/"},
    ),
    minio(
        "a server by the bucket's name",
        host="bucket.minio.example:9000",
        path="",
        table={"endpoint_url": "http://minio.example:9000", "addressing_style": "virtual"},
    ),
    direct("a server of the profile", table={}, config=PROFILE_OF_ENDPOINT),
]
BUCKETS = [
    aws(
        "by path", "s3.eu-west-1.amazonaws.com", path="/bucket", table={"addressing_style": "path"}
    ),
    aws("a name with dots", "s3.eu-west-1.amazonaws.com", path="/my.bucket", bucket="my.bucket"),
    aws("an old name", "s3.eu-west-1.amazonaws.com", path="/My_Bucket", bucket="My_Bucket"),
    aws(
        "an access point's alias",
        "plates-abc-s3alias.s3.eu-west-1.amazonaws.com",
        bucket="plates-abc-s3alias",
    ),
    aws("an access point's ARN", ACCESS_POINT, bucket=ARN),
    Case(
        name="an ARN of another region",
        host=ACCESS_POINT,
        bucket=ARN,
        table={"region": "us-east-1"},
        env={"AWS_S3_USE_ARN_REGION": "true"},
    ),
    aws(
        "an object lambda's ARN",
        ACCESS_POINT.replace("s3-accesspoint", "s3-object-lambda"),
        bucket=ARN.replace(":s3:", ":s3-object-lambda:"),
        service="s3-object-lambda",
        clients="boto3",
    ),
    Case(
        name="S3 Express",
        host="data--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
        bucket="data--use1-az4--x-s3",
        region="us-east-1",
        service="s3express",
        table={"region": "us-east-1"},
        clients="boto3",
    ),
]
SIGNING = [
    aws("AWS_SKIP_SIGNATURE is obstore's alone", env={"AWS_SKIP_SIGNATURE": "true"}),
    aws("nobody signs", region=None, service=None, credentials={"provider": "anonymous"}),
    aws("AWS_UNSIGNED_PAYLOAD is obstore's alone", env={"AWS_UNSIGNED_PAYLOAD": "true"}),
    aws("AWS_S3_EXPRESS is obstore's alone", env={"AWS_S3_EXPRESS": "true"}),
    aws("AWS_BUCKET is obstore's alone", env={"AWS_BUCKET": "another"}),
    aws(
        "a word that is no flag",
        env={"AWS_SKIP_SIGNATURE": "perhaps", "AWS_COPY_IF_NOT_EXISTS": "x"},
    ),
    aws(
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST is obstore's alone",
        env={"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"},
    ),
]
HEADERS = [
    aws(
        "AWS_SERVER_SIDE_ENCRYPTION is obstore's alone",
        env={"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": "a-key"},
        clients="boto3",
    ),
    aws(
        "AWS_CHECKSUM_ALGORITHM is obstore's alone",
        env={"AWS_CHECKSUM_ALGORITHM": "sha256"},
        clients="boto3",
    ),
    aws("AWS_REQUEST_PAYER is obstore's alone", env={"AWS_REQUEST_PAYER": "requester"}),
    aws("encryption", table={"server_side_encryption": "AES256"}, told={SSE: "AES256"}),
    aws(
        "encryption with a key",
        table={"server_side_encryption": "aws:kms", "kms_key_id": "a-key"},
        told={SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "a-key"},
    ),
]
PROXIES = [
    minio("HTTP_PROXY for a plain server"),
    direct("a proxy for all but this host", env={"NO_PROXY": "localhost, 127.0.0.1"}),
    direct("a proxy for all but a network", env={"NO_PROXY": "10.0.0.0/8,127.0.0.0/8"}),
    direct("a proxy for all but host and port", env={"NO_PROXY": "127.0.0.1:{plain}"}),
    direct("a proxy for another port", env={"NO_PROXY": "127.0.0.1:1"}, route="proxy"),
    direct("a proxy for another network", env={"NO_PROXY": "10.0.0.0/8"}, route="proxy"),
    direct("a proxy for nothing", env={"NO_PROXY": "*"}),
    direct("a proxy for all but this host, over TLS", "tls", env={"no_proxy": "127.0.0.0/8"}),
    aws("a domain that isn't this one", env={"NO_PROXY": "xamazonaws.com,.example"}),
    aws(
        "ALL_PROXY alone",
        env={"HTTPS_PROXY": "", "HTTP_PROXY": "", "ALL_PROXY": "http://127.0.0.1:{proxy}"},
    ),
    aws(
        "ALL_PROXY and one that is more special",
        env={"ALL_PROXY": "http://127.0.0.1:{other}"},
    ),
    aws(
        "the variable without capitals counts more",
        env={"HTTPS_PROXY": "http://127.0.0.1:{other}", "https_proxy": "http://127.0.0.1:{proxy}"},
    ),
    aws("a proxy without a scheme", env={"HTTPS_PROXY": "127.0.0.1:{proxy}"}),
    aws("AWS_PROXY_URL is obstore's alone", env={"AWS_PROXY_URL": "http://127.0.0.1:{other}"}),
    aws("a proxy with a password", env={"HTTPS_PROXY": "http://user:p%40ss@127.0.0.1:{proxy}"}),
    aws(
        "a proxy with a user", env={"HTTPS_PROXY": "http://user@127.0.0.1:{proxy}"}, clients="boto3"
    ),
    direct("none"),
]
CERTIFICATES = [
    direct("a server of a known authority", "tls"),
    direct("REQUESTS_CA_BUNDLE", "tls", env={"AWS_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "{ca}"}),
    direct(
        "a bundle of the profile",
        "tls",
        env={"AWS_CA_BUNDLE": ""},
        config="[default]\nca_bundle = {ca}\n",
    ),
    direct(
        "a bundle of the table",
        "tls",
        env={"AWS_CA_BUNDLE": "{own_ca}"},
        table={"endpoint_url": "https://127.0.0.1:{tls}", "ca_bundle": "{ca}"},
    ),
    direct("a server's own certificate", "own", env={"AWS_CA_BUNDLE": "{own_ca}"}, clients="boto3"),
]
CASES = [
    *(*REGIONS, *ENDPOINTS, *BUCKETS, *SIGNING, *HEADERS, *PROXIES, *CERTIFICATES),
]


@dataclass(frozen=True, slots=True)
class Servers:
    """All servers; ``values`` are those that cases name in braces."""

    recorders: tuple[Recorder, ...]
    values: dict[str, object]

    def filled(self, text: str) -> str:
        for name, value in self.values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def taken(self) -> list[Sent]:
        return [sent for recorder in self.recorders for sent in recorder.sent]


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "authority"), Authority(folder, "server")


@pytest.fixture(scope="module")
def all_servers(authorities: tuple[Authority, Authority]) -> Iterator[Servers]:
    ours, own = authorities
    with (
        recording("proxy", ours) as proxy,
        recording("other", ours) as other,
        recording("plain", ours) as plain,
        recording("tls", ours, context=ours.context_for("localhost")) as tls,
        recording("own", ours, context=own.own_context()) as server,
    ):
        yield Servers(
            (proxy, other, plain, tls, server),
            {
                **{each.name: each.port for each in (proxy, other, plain, tls, server)},
                "ca": ours.path,
                "own_ca": own.path,
            },
        )


@pytest.fixture(scope="module", autouse=True)
def one_loader() -> Iterator[None]:
    """Have botocore read its descriptions of services once for all sessions of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            botocore.loaders, "create_loader", functools.cache(botocore.loaders.create_loader)
        )
        yield


@pytest.fixture
def servers(all_servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """The servers, with nothing recorded, and an environment that uses the proxy for all."""
    for recorder in all_servers.recorders:
        recorder.sent.clear()
        recorder.home = None
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxy = f"http://127.0.0.1:{all_servers.values['proxy']}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKEY",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_CA_BUNDLE": str(all_servers.values["ca"]),
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
    }.items():
        monkeypatch.setenv(name, value)
    return all_servers


def configure(
    case: Case, servers: Servers, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> StoreRegistry:
    for name, value in case.env.items():
        if value:
            monkeypatch.setenv(name, servers.filled(value))
        else:
            monkeypatch.delenv(name, raising=False)
    if case.config:
        (folder / "config").write_text(servers.filled(case.config))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    table = {name: servers.filled(value) for name, value in case.table.items()}
    return StoreRegistry({"s3": table}, credentials=case.credentials)


def use_both_clients(registry: StoreRegistry, bucket: str) -> None:
    """Put, read, list, and begin to put in parts: what both clients do, and boto3 alone."""
    store = registry.open(f"s3://{bucket}", "destination")
    attributes = Attributes(mtime_ns=0, md5=md5_of(DATA))
    for _ in range(2):  # the first is sent to AWS by boto3, to learn how the bucket proves objects
        store.write("k", [DATA], attributes)
    assert bytes(store.read(Entry("k", len(DATA), MODIFIED_NS), 0, len(DATA)).data) == DATA
    assert kind_of(store, "") == "folder"
    store.begin("k", attributes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_clients_send_the_same(
    case: Case, servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_both_clients(configure(case, servers, monkeypatch, tmp_path), case.bucket)
    sent = [each for each in servers.taken() if "session" not in each.query]
    assert {each.client for each in sent} == (
        {"boto3", "obstore"} if case.clients == "both" else {"boto3"}
    )
    for each in sent:
        found = (each.route, each.scheme, each.host, base_of(each), each.region, each.service)
        assert found == (
            case.route,
            case.scheme,
            servers.filled(case.host),
            case.path,
            case.region,
            case.service,
        ), each
        # boto3's own checksums for AWS aren't a setting that obstore needs.
        told = {name: value for name, value in each.telling if "checksum" not in name}
        assert told == (case.told if each.is_write else {}), each
        if each.client == "obstore":
            assert not [name for name, _ in each.telling if "checksum" in name], each
    assert len({each.proxy_authorization for each in sent}) == 1
    assert {each.method for each in sent} >= {"GET", "PUT", "POST"}


def base_of(sent: Sent) -> str:
    """The part before the key, or the whole path of a request about the bucket."""
    probed = "/jobtool" if sent.method == "HEAD" else "/k"
    return sent.path.removesuffix(probed).rstrip("/")


def test_the_table_has_enough_configurations() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize("is_aws_like", [True, False])
def test_the_region_of_a_bucket_is_found_before_obstore_sends_anything(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_aws_like: bool
) -> None:
    case = in_region("told wrong", "us-east-1", "") if is_aws_like else minio("signed for another")
    proxy = servers.recorders[0]
    proxy.home, proxy.is_aws_like = "eu-central-1", is_aws_like
    use_both_clients(configure(case, servers, monkeypatch, tmp_path), "bucket")
    by_obstore = [each for each in servers.taken() if each.client == "obstore"]
    assert {each.method for each in by_obstore} >= {"GET", "PUT"}
    assert {(each.status // 100, each.region) for each in by_obstore} == {(2, "eu-central-1")}
    refused = [each for each in servers.taken() if each.status >= 300]
    assert len(refused) <= 2  # once by each of boto3's clients


def test_a_certificate_of_nobody_known_is_taken_by_neither_client(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env = {"AWS_CA_BUNDLE": "{own_ca}", "AWS_ALLOW_INVALID_CERTIFICATES": "true"}
    registry = configure(direct("unknown", "tls", env=env), servers, monkeypatch, tmp_path)
    store = registry.open("s3://bucket", "destination")
    with pytest.raises(StoreUnavailableError, match="certificate"):
        store.write("k", [DATA], Attributes(mtime_ns=0, md5=md5_of(DATA)))
    assert servers.taken() == []
