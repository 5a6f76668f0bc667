"""From S3 to S3 by the commands: the server copies, and no byte passes through the worker."""

from __future__ import annotations

import base64
import collections
import random
import signal

import pytest

from jobtool.md5 import md5_of
from tests import commands
from tests.faults import proxy
from tests.faults.proxy import Answer, Fault, proxy_before
from tests.servers.versitygw import versitygw_server
from tests.trees import events, receipts

MIB = 1024 * 1024
PART_BYTES = 5 * MIB
PARTS = 5
THREADS = 2
NAMES = ("with space", "100%", "%2F", "#hash", "ü", "a+b=c", "deep/er/file", 'quote"')
LARGE = "plate/large image #1.tif"


def is_copy(request):
    return "x-amz-copy-source" in request.headers


class Watched:
    """A server behind a proxy, which counts what the worker reads and writes."""

    def __init__(self, server, front):
        self.server = server
        self.front = front
        self.read = []
        self.heads = 0
        self.copies = collections.Counter()
        self.left = 10**6
        self.env = {**server.environment, "AWS_ENDPOINT_URL": front.endpoint_url}
        front.faults.append(Fault(self._stalls, front.stall, times=10**6))

    def _stalls(self, request):
        if request.is_get:
            self.read.append(request.path)
        self.heads += request.method == "HEAD"
        if not is_copy(request):
            return False
        if self.left <= 0:
            return True
        self.left -= 1
        self.copies[request.path, *request.query.get("partNumber", [])] += 1
        return False

    def befall(self, befalls, happen, times=1):
        self.front.faults.insert(0, Fault(befalls, happen, times=times))

    @property
    def passed(self):
        """Whether bytes of files have passed through the worker."""
        return bool(self.read or self.front.uploaded)

    def put(self, bucket, key, data, **told):
        self.server.client.put_object(Bucket=bucket, Key=f"in/{key}", Body=data, **told)

    def put_parts(self, bucket, key, data, size=PART_BYTES, **told):
        """Write an object in parts. Return its ETag."""
        client, where = self.server.client, {"Bucket": bucket, "Key": f"in/{key}"}
        where["UploadId"] = client.create_multipart_upload(**where, **told)["UploadId"]
        parts = []
        for number, offset in enumerate(range(0, len(data), size), start=1):
            body = data[offset : offset + size]
            etag = client.upload_part(**where, PartNumber=number, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
        done = client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        return done["ETag"].strip('"')

    def head(self, bucket, key):
        return self.server.client.head_object(Bucket=bucket, Key=key)

    def contents(self, bucket, prefix):
        client = self.server.client
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
        return {
            each["Key"].removeprefix(prefix): client.get_object(Bucket=bucket, Key=each["Key"])[
                "Body"
            ].read()
            for each in found
        }

    def generate(self, joblist, bucket, out="out", **transfer):
        settings = {"threads": THREADS, "part_size_bytes": PART_BYTES, **transfer}
        places = ("-i", f"s3://{bucket}/in", "-o", joblist, "-d", f"s3://{bucket}/{out}")
        commands.run_ok("generate-joblist", *places, "-l", "tree", "-v", "0", env=self.env)
        with (joblist / "joblist.toml").open("a") as file:
            file.write("\n[transfer]\n")
            file.writelines(f"{name} = {value!r}\n" for name, value in settings.items())
        (self.job,) = joblist.glob("*.txt")
        return joblist

    def start(self, joblist):
        return commands.start("transfer-worker", "-i", joblist, "-v", "0", env=self.env)

    def kill_after_parts(self, joblist, number):
        """Start a worker. Kill it once so many parts are recorded; it can copy no more of them."""
        self.left = number - self.copies.total()
        worker = self.start(joblist)
        (journals,) = joblist.glob("journals")
        commands.wait_for(lambda: journal_of(journals).count('"type":"part"') >= number)
        worker.kill()
        assert commands.finish(worker).exit_code == -signal.SIGKILL

    def work(self, joblist, exit_code=0):
        done = commands.finish(self.start(joblist))
        assert done.exit_code == exit_code, done
        return done

    def methods(self, joblist):
        """The method and the proof of each file, by the end of its path."""
        return {
            each.dst_path.partition("/out/")[2]: (each.method, each.verified_by)
            for each in receipts(joblist)
        }


def journal_of(folder):
    return "".join(path.read_text() for path in folder.glob("*.jsonl"))


def in_base64(data):
    return base64.b64encode(bytes.fromhex(md5_of(data))).decode()


def some_bytes(size):
    return random.Random(size).randbytes(size)


@pytest.fixture
def rclone(rclone_s3):
    with proxy_before(rclone_s3.endpoint_url) as front:
        yield Watched(rclone_s3, front)


@pytest.fixture
def moto(moto_s3):
    with proxy_before(moto_s3.endpoint_url) as front:
        yield Watched(moto_s3, front)


def test_a_tree_is_copied_whatever_its_names(rclone, tmp_path):
    bucket = rclone.server.new_bucket()
    files = {f"plate/{name}": some_bytes(100 + n) for n, name in enumerate(NAMES)}
    files |= {"plate/empty": b"", LARGE: some_bytes(2 * PART_BYTES + 7)}
    for path, data in files.items():
        rclone.put(bucket, path, data, Metadata={"mtime": "1500000000.5"})
    joblist = rclone.generate(tmp_path / "jobs", bucket)
    rclone.work(joblist)
    assert not rclone.passed
    assert rclone.heads == len(files)
    assert rclone.contents(bucket, "out/") == files
    found = receipts(joblist)
    assert {(each.method, each.verified_by) for each in found} == {("server-side", "etag-md5")}
    assert {each.dst_path.partition("/out/")[2]: each.hashsum_dst for each in found} == {
        path: md5_of(data) for path, data in files.items()
    }
    (line,) = events(rclone.job, "method")
    assert f" name=server-side files={len(files)} seconds=" in line
    assert "reason=" not in line
    commands.run_ok("jobtool", "verify", joblist, env=rclone.env)


def test_files_that_are_there_already_are_compared_without_reading_them(rclone, tmp_path):
    bucket = rclone.server.new_bucket()
    rclone.put(bucket, "plate/same", b"same")
    rclone.put(bucket, "plate/other", b"other")
    for name in ("same", "other"):
        rclone.server.client.put_object(Bucket=bucket, Key=f"out/plate/{name}", Body=name.encode())
    rclone.put(bucket, "plate/other", b"OTHER")
    joblist = rclone.generate(tmp_path / "jobs", bucket)
    rclone.work(joblist)
    assert rclone.contents(bucket, "out/") == {"plate/same": b"same", "plate/other": b"OTHER"}
    assert rclone.methods(joblist)["plate/same"] == (None, "etag-md5")
    assert rclone.methods(joblist)["plate/other"] == ("server-side", "etag-md5")
    assert {path.partition("/out/")[2] for path in rclone.read} <= {"plate/other"}


def test_a_copy_has_what_a_streamed_object_has(moto, tmp_path):
    bucket = moto.server.new_bucket()
    metadata = {"mtime": "1500000000.5", "mine": "kept"}
    moto.put(
        bucket,
        "plate/a.txt",
        b"data",
        Metadata=metadata,
        CacheControl="no-store",
        Tagging="of=the source",
    )
    data = some_bytes(PART_BYTES + 5)
    told = {"md5chksum": in_base64(data), **metadata}
    moto.put_parts(bucket, "plate/b.tif", data, Metadata=told)
    made = {}
    for methods in (["stream"], ["server-side"]):
        out = methods[0]
        joblist = moto.generate(tmp_path / out, bucket, out, methods=methods)
        with (joblist / "joblist.toml").open("a") as file:
            file.write(
                '\n[s3]\nstorage_class = "STANDARD_IA"\ntags = {of = "ours"}\nacl = "public-read"\n'
                'metadata = {project = "x"}\ncontent_types = {"*.tif" = "image/special"}\n'
            )
        moto.work(joblist)
        made[out] = [described(moto, bucket, f"{out}/plate/{name}") for name in ("a.txt", "b.tif")]
    assert made["server-side"] == made["stream"]
    assert made["stream"][0]["Metadata"]["mine"] == "kept"
    assert len(moto.copies) == 3


@pytest.fixture
def versitygw(tmp_path):
    with (
        versitygw_server(tmp_path / "versitygw") as server,
        proxy_before(server.endpoint_url) as front,
    ):
        yield Watched(server, front)


@pytest.mark.wide
def test_a_server_with_checksums_needs_no_md5_in_the_metadata(versitygw, tmp_path):
    bucket = versitygw.server.new_bucket()
    files = {"plate/parts": some_bytes(2 * PART_BYTES + 7), "plate/whole": b"data"}
    files["plate/known"] = some_bytes(PART_BYTES + 9)
    versitygw.put_parts(bucket, "plate/parts", files["plate/parts"])
    known = in_base64(files["plate/known"])
    versitygw.put_parts(bucket, "plate/known", files["plate/known"], Metadata={"md5chksum": known})
    versitygw.put(bucket, "plate/whole", b"data")
    joblist = versitygw.generate(tmp_path / "jobs", bucket)
    versitygw.work(joblist)
    assert not versitygw.passed
    assert versitygw.contents(bucket, "out/") == files
    assert versitygw.methods(joblist) == {
        "plate/parts": ("server-side", "stored-crc64nvme"),
        "plate/known": ("server-side", "multipart-etag"),
        "plate/whole": ("server-side", "etag-md5"),
    }
    commands.run_ok("jobtool", "verify", "--deep", joblist, env=versitygw.env)


@pytest.mark.wide
def test_a_server_that_keeps_conditions_copies_no_changed_source(versitygw, tmp_path):
    bucket = versitygw.server.new_bucket()
    versitygw.put(bucket, "plate/a", b"old one")
    answers = []

    def change(request, forward):
        versitygw.put(bucket, "plate/a", b"new one, which is longer")
        answers.append(forward(request))
        return answers[0]

    versitygw.befall(is_copy, change)
    joblist = versitygw.generate(tmp_path / "jobs", bucket)
    versitygw.work(joblist)
    assert answers[0].status == 412
    assert not versitygw.passed
    assert versitygw.contents(bucket, "out/") == {"plate/a": b"new one, which is longer"}
    assert versitygw.methods(joblist) == {"plate/a": ("server-side", "etag-md5")}


def described(watched, bucket, key):
    client, where = watched.server.client, {"Bucket": bucket, "Key": key}
    head = client.head_object(**where)
    names = ("Metadata", "ContentType", "CacheControl", "StorageClass", "ETag", "ContentLength")
    return {
        **{name: head.get(name) for name in names},
        "tags": client.get_object_tagging(**where)["TagSet"],
        "acl": client.get_object_acl(**where)["Grants"],
    }


def test_parts_are_copied_once_though_workers_are_killed(moto, tmp_path):
    bucket = moto.server.new_bucket()
    data = some_bytes((PARTS - 1) * PART_BYTES + 77)
    etag = moto.put_parts(bucket, LARGE, data, Metadata={"md5chksum": in_base64(data)})
    joblist = moto.generate(tmp_path / "jobs", bucket)
    for number in (2, 4):
        moto.kill_after_parts(joblist, number)
    assert moto.contents(bucket, "out/") == {}
    moto.left = 10**6
    moto.work(joblist)
    assert not moto.passed
    assert moto.contents(bucket, "out/") == {LARGE: data}
    assert moto.head(bucket, f"out/{LARGE}")["ETag"].strip('"') == etag
    (found,) = receipts(joblist)
    assert (found.method, found.verified_by, found.hashsum_dst, found.part_size) == (
        "server-side",
        "multipart-etag",
        md5_of(data),
        PART_BYTES,
    )
    assert len(moto.copies) == PARTS
    assert moto.copies.total() == PARTS
    assert "Uploads" not in moto.server.client.list_multipart_uploads(Bucket=bucket)
    commands.run_ok("jobtool", "verify", "--deep", joblist, env=moto.env)


@pytest.mark.wide
def test_what_was_copied_in_parts_is_finished_by_sending_the_rest(moto, tmp_path):
    bucket = moto.server.new_bucket()
    data = some_bytes((PARTS - 1) * PART_BYTES + 77)
    moto.put_parts(bucket, LARGE, data, Metadata={"md5chksum": in_base64(data)})
    joblist = moto.generate(tmp_path / "jobs", bucket)
    moto.kill_after_parts(joblist, 3)
    toml = joblist / "joblist.toml"
    toml.write_text(toml.read_text() + 'methods = ["stream"]\n')
    moto.work(joblist)
    assert moto.contents(bucket, "out/") == {LARGE: data}
    assert 0 < moto.front.uploaded <= (PARTS - 3) * PART_BYTES
    (found,) = receipts(joblist)
    assert (found.method, found.hashsum_dst) == ("stream", md5_of(data))


def test_by_a_checksum_if_the_copy_is_encrypted(moto, tmp_path):
    bucket = moto.server.new_bucket()
    moto.put(bucket, "plate/known", b"data", ChecksumAlgorithm="SHA256")
    moto.put(bucket, "plate/unknown", b"other data")
    joblist = moto.generate(tmp_path / "jobs", bucket)
    with (joblist / "joblist.toml").open("a") as file:
        file.write('\n[s3]\nserver_side_encryption = "aws:kms"\n')
    moto.work(joblist)
    assert moto.contents(bucket, "out/") == {"plate/known": b"data", "plate/unknown": b"other data"}
    assert moto.methods(joblist) == {
        "plate/known": ("server-side", "stored-sha256"),
        "plate/unknown": ("stream", "etag-md5"),  # moto's is one all the same
    }
    assert moto.head(bucket, "out/plate/known")["ServerSideEncryption"] == "aws:kms"


def test_a_source_that_changes_before_its_copy_is_noticed(moto, tmp_path):
    bucket = moto.server.new_bucket()
    moto.put(bucket, "plate/a", b"old one")

    def change(request, forward):
        moto.put(bucket, "plate/a", b"new one, which is longer")
        return forward(request)

    moto.befall(is_copy, change)
    joblist = moto.generate(tmp_path / "jobs", bucket)
    moto.work(joblist)
    assert moto.contents(bucket, "out/") == {"plate/a": b"new one, which is longer"}
    (found,) = receipts(joblist)
    assert found.hashsum_dst == md5_of(b"new one, which is longer")


def denied(request, forward):
    body = b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
    return Answer(403, [("Content-Type", "application/xml")], body)


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (denied, "AccessDenied"),
        (proxy.encrypt, "answer doesn't prove the copy"),
        pytest.param(proxy.internal_error, "InternalError", marks=pytest.mark.wide),
    ],
    ids=["refused", "unproven", "failing"],
)
def test_what_the_server_cannot_copy_is_streamed(rclone, tmp_path, happen, reason):
    bucket = rclone.server.new_bucket()
    files = {f"plate/{number}": some_bytes(number) for number in range(8)}
    for path, data in files.items():
        rclone.put(bucket, path, data)
    rclone.befall(is_copy, happen, times=10**6)
    joblist = rclone.generate(tmp_path / "jobs", bucket)
    rclone.work(joblist)
    assert rclone.contents(bucket, "out/") == files
    assert set(rclone.methods(joblist).values()) == {("stream", "etag-md5")}
    (line,) = events(rclone.job, "method")
    assert " name=server-side files=0 " in line
    assert reason in line


def test_at_two_endpoints_nothing_is_asked_and_the_log_says_so(rclone, moto, tmp_path):
    source, bucket = moto.server.new_bucket(), rclone.server.new_bucket()
    moto.put(source, "plate/a", b"data")
    settings = ("--set", f"s3.source.endpoint_url={moto.front.endpoint_url}")
    places = ("-i", f"s3://{source}/in", "-o", tmp_path / "jobs", "-d", f"s3://{bucket}/out")
    generate = ("generate-joblist", *places, "-l", "tree", "-v", "0", *settings)
    commands.run_ok(*generate, env=rclone.env)
    rclone.work(tmp_path / "jobs")
    assert rclone.methods(tmp_path / "jobs") == {"plate/a": ("stream", "etag-md5")}
    assert not rclone.copies
    (job,) = (tmp_path / "jobs").glob("*.txt")
    (line,) = events(job, "method")
    assert 'files=0 seconds=0.0 reason="not available: the source is at another endpoint' in line


def test_by_methods_it_is_left_out_or_alone(rclone, tmp_path):
    bucket = rclone.server.new_bucket()
    rclone.put(bucket, "plate/a", b"data")
    rclone.befall(is_copy, denied, times=10**6)
    alone = rclone.generate(tmp_path / "alone", bucket, methods=["server-side"])
    done = rclone.work(alone, exit_code=4)  # a refusal of one file may be one of all
    assert "check what these credentials are allowed" in done.stderr
    assert not rclone.passed
    assert rclone.front.faults[0].hits
    rclone.front.faults[0].hits = 0
    without = rclone.generate(tmp_path / "without", bucket, methods=["stream"])
    rclone.work(without)
    assert rclone.methods(without) == {"plate/a": ("stream", "etag-md5")}
    assert rclone.front.faults[0].hits == 0
    assert events(rclone.job, "method") == []


@pytest.mark.wide
def test_without_an_md5_or_with_a_wrong_one_the_object_is_read(moto, tmp_path):
    bucket = moto.server.new_bucket()
    data = some_bytes(PART_BYTES + 7)
    moto.put_parts(bucket, "plate/unknown", data)
    joblist = moto.generate(tmp_path / "jobs", bucket)
    moto.work(joblist)
    assert moto.methods(joblist) == {"plate/unknown": ("stream", "multipart-etag")}
    assert not moto.copies
    moto.put_parts(bucket, "plate/wrong", data[:-1], Metadata={"md5chksum": in_base64(data)})
    joblist = moto.generate(tmp_path / "again", bucket, part_size_bytes=2 * PART_BYTES)
    done = moto.work(joblist, exit_code=1)
    assert "expected MD5" in done.stderr + moto.job.read_text()
    assert "plate/wrong" not in moto.contents(bucket, "out/")
