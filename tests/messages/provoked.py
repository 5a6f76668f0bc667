"""Commands that go wrong as people's do, and the world in which they run.

``CASES`` is the list. ``test_messages.py`` runs it and compares the messages with those in
``examples.json``, from which the docs page is made. ``python -m tests.messages.provoked`` records
them anew.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.commands import Done, finish, run, start_module
from tests.receiving import worlds as arrived
from tests.staging.world import world_in
from tests.trees import make_items

EXAMPLES = Path(__file__).with_name("examples.json")

#: What stands for the folder in which the commands run.
SHOWN = "/data"


@dataclass(frozen=True, slots=True)
class Case:
    """A command, by its words; the exit code; and texts that its message must have."""

    topic: str
    command: str
    exit_code: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class World:
    """The folder in which commands run, and their environment."""

    folder: Path
    environment: dict[str, str]

    def run(self, cases: Sequence[Case]) -> list[Done]:
        """Run commands, one after the other, in one process."""
        asked = self.folder / "commands.json"
        asked.write_text(json.dumps([shlex.split(case.command) for case in cases]))
        many = start_module(
            "tests.messages.many", str(asked), env=self.environment, cwd=self.folder
        )
        done = finish(many)
        assert done.exit_code == 0, done
        return [Done(*each) for each in json.loads(done.stdout)]

    def message(self, done: Done) -> str:
        """What the command said of the error, the same in every world."""
        lines = done.stderr.splitlines() or [
            line for line in done.lines if line.startswith(("❌", "❗")) and "item000" in line
        ]
        return "\n".join(lines).replace(str(self.folder), SHOWN)


def world(folder: Path) -> World:
    """Make the world in an empty folder."""
    make_items(folder / "in", 2)
    told = ("-o", folder / "list", "-d", folder / "out", "-l", "tree", "-v", 0)
    assert run("generate-joblist", folder / "in", *told).exit_code == 0
    shutil.copytree(folder / "list", folder / "done")
    done_toml = folder / "done" / "joblist.toml"
    done_toml.write_text(done_toml.read_text().replace('id = "', 'id = "0'))
    assert run("transfer-worker", folder / "done", "-v", 0).exit_code == 0
    for name, (table, text) in SETTINGS.items():
        _variant(folder, name, f"\n[{table}]\n{text}\n" if table else "", "" if table else text)
    for name, (old, new) in JOB_FILES.items():
        _variant(folder, name, "", "")
        jobfile = folder / name / "item000.txt"
        jobfile.write_text(jobfile.read_text().replace(old, new, 1))
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "diary.md").write_text("Monday")
    (folder / "gone").mkdir()
    _variant(folder, "lost", "", "")
    jobfile = folder / "lost" / "item000.txt"
    jobfile.write_text(jobfile.read_text().replace("/in/item000", "/in/item999", 1))
    place = arrived.World(folder / "sites")
    place.package("night", {"a": 2})
    stage = world_in(folder / "stage")
    return World(folder, {**stage.env(), "HOME": str(folder)})


def _variant(folder: Path, name: str, end: str, begin: str) -> None:
    shutil.copytree(folder / "list", folder / name)
    toml = folder / name / "joblist.toml"
    toml.write_text(begin + ("\n" if begin else "") + toml.read_text() + end)


#: Joblists by the name of their folder, with a table at the end of joblist.toml, or a line at its
#: beginning.
SETTINGS: dict[str, tuple[str, str]] = {
    "set-threads": ("transfer", 'threads = "many"'),
    "set-zero": ("transfer", "threads = 0"),
    "set-exists": ("transfer", 'if_exists = "overwite"'),
    "set-bandwith": ("transfer", 'bandwith = "1MB/s"'),
    "set-bandwidth": ("transfer", 'bandwidth = "fast"'),
    "set-method": ("transfer", 'methods = ["rsnc"]'),
    "set-table": ("tranfser", "threads = 3"),
    "set-lease": ("", "leaseseconds = 3"),
    "set-methods": ("methods.rsnc", 'options = ["-a"]'),
    "set-provider": ("credentials", 'provider = "proces"'),
    "set-region": ("s3", 'regoin = "eu-central-1"'),
    "set-secret": ("s3", 'secret_access_key = "sesame-open"'),
    "set-filters": ("filters", 'rule = ["- *.tmp"]'),
    "set-rule": ("filters", 'rules = ["exclude *.tmp"]'),
    "set-metrics": ("metrics", 'textfle = "/var/lib/x.prom"'),
    "set-toml": ("", "format = "),
    "set-newer": ("", 'requires = ["teleport"]'),
}

#: Joblists by the name of their folder, with a text of the job file of item000 replaced.
JOB_FILES: dict[str, tuple[str, str]] = {
    "job-status": ("todo", "tdo"),
    "job-done": ("todo", "Done"),
    "job-source": ("source:", "soruce:"),
    "job-target": ("destination:", "destinaton:"),
    "job-line": ("---", "copy these files\n---"),
    "job-end": ("---", ""),
    "job-newer": ("---", "requires: teleport\n---"),
    "job-number": ("---", "failures: some\n---"),
    "job-time": ("---", "not_before: tomorrow\n---"),
    "job-pair": ("---", "file: /a /b\n---"),
    "job-url": ("source: /", "source: s4://"),
}

_LAYOUT = "[layout]\npattern = '{x}'\nname = '{x}'\ndestination = '{destination}/{x}'\n"

_SITES = """
sites.a.buffer.url = "/a"
sites.b.buffer.url = "/b"
"""

FILES: dict[str, str] = {
    "layouts/table.toml": _LAYOUT.replace("[layout]", "[layuot]"),
    "layouts/key.toml": _LAYOUT.replace("pattern", "patern"),
    "layouts/field.toml": _LAYOUT.replace("name = '{x}'", "name = '{y}'"),
    "layouts/brace.toml": _LAYOUT.replace("'{x}'", "'{x'", 1),
    "layouts/broken.toml": "[layout",
    "layouts/value.toml": _LAYOUT.replace("/{x}'", "/{bucket}/{x}'"),
    "routes/type.toml": _SITES + "[[routes]]\ntpye = 'direct'\nfrom = 'a'\nto = 'b'\n",
    "routes/kind.toml": _SITES + "[[routes]]\ntype = 'rely'\nfrom = 'a'\nto = 'b'\n",
    "routes/site.toml": _SITES + "[[routes]]\ntype = 'direct'\nfrom = 'a'\nto = 'd'\n",
    "routes/table.toml": _SITES + "[[rotues]]\ntype = 'direct'\n",
    "rules.txt": "include *.tif\n",
    "odd.parquet": "no table",
    "a.csv": "x\n",
}

_G = "generate-joblist in -o new -d out -l tree"
_E = "jobtool export --connection duckdb:// -o rows -d out"

CASES: tuple[Case, ...] = tuple(
    Case(topic, command, exit_code, tuple(names))
    for topic, rows in {
        "The command line": [
            ("jobtool sumarise list", 2, "'sumarise'", "'summarise'"),
            ("jobtool status list", 2, "'status'", "'summarise'"),
            ("jobtool catalog compct", 2, "'compct'", "'compact'"),
            ("jobtool --hepl", 2, "'--hepl'", "'--help'"),
            ("transfer-worker list --thread 4", 2, "'--thread'", "'--threads'"),
            ("transfer-worker list --max_job 3", 2, "--max", "'--max-jobs'"),
            ("transfer-worker list --if-exists verfy", 2, "--if-exists", "'verify'"),
            ("transfer-worker list --claims loks", 2, "'loks'", "'lock'"),
            ("transfer-worker list --threads many", 2, "--threads", "'many'"),
            ("transfer-worker list --threads 0", 2, "--threads", "0"),
            ("transfer-worker list --threads", 2, "--threads"),
            ("transfer-worker", 2, "JOBLIST", "neither"),
            ("transfer-worker list -i list", 2, "JOBLIST", "both"),
            ("transfer-worker list more", 2, "more"),
            ("transfer-worker list --time-limit soon", 2, "--time-limit", "soon"),
            ("transfer-worker list --bandwidth fast", 2, "--bandwidth", "fast"),
            ("transfer-worker list --methods rsnc,stream", 2, "'rsnc'", "'rsync'"),
            ("transfer-worker list --methods stream,rsync", 2, "stream", "last"),
            ("summarise-jobs list -v 9", 2, "9", "0 to 3"),
            ("jobtool sbatch list --scheduler slrum", 2, "'slrum'", "'slurm'"),
            ("jobtool sbatch list --time tomorrow", 2, "--time", "tomorrow"),
            ("jobtool verify done --seed 3", 2, "seed", "sample"),
            ("jobtool release done --yes --dry-run", 2, "--yes", "--dry-run"),
            ("jobtool report done --markdown --json", 2, "-o FILE"),
        ],
        "Paths and URLs": [
            ("transfer-worker lsit", 2, "/lsit", "Did you mean"),
            ("transfer-worker in", 2, "/in", "joblist.toml", "generate-joblist"),
            ("transfer-worker a.csv", 2, "a.csv", "found a file"),
            ("summarise-jobs s3://bucket/list", 2, "s3://bucket/list"),
            ("generate-joblist inn -o new -d out -l tree", 2, "/inn", "/in?"),
            ("generate-joblist in -o notes -d out -l tree", 2, "notes", "diary.md"),
            ("generate-joblist in -o a.csv -d out -l tree", 2, "a.csv", "found a file"),
            ("generate-joblist '' -o new -d out -l tree", 2, "empty"),
            ("generate-joblist in -o new -d s4://bucket/x -l tree", 2, "'s4'", "s3://bucket/x"),
            ("generate-joblist in -o new -d sfpt://host/x -l tree", 2, "'sfpt'", "sftp://host/x"),
            ("generate-joblist in -o new -d s3:/bucket/x -l tree", 2, "s3://bucket/x"),
            ("generate-joblist in -o new -d s3:// -l tree", 2, "s3://"),
            ("generate-joblist in -o new -d s3://bucket/../x -l tree", 2, "s3://bucket/../x"),
            ("generate-joblist in -o new -d http://host/x -l tree", 2, "http://host/x"),
            ("generate-joblist in -o new -d file://host/x -l tree", 2, "file://host/x"),
            ("generate-joblist in -o new -d in/sub -l tree", 2, "in/sub"),
            ("jobtool receipts done -o table.txt", 2, "table.txt", ".csv"),
            ("jobtool receipts done -o nowhere/table.csv", 2, "nowhere"),
            ("jobtool report done -o report.pdf", 2, "report.pdf", ".html"),
            ("jobtool verify odd.parquet", 1, "odd.parquet"),
            ("jobtool verify nothing.parquet", 2, "nothing.parquet"),
        ],
        "Making a joblist": [
            ("generate-joblist in -o new -d out -l tere", 2, "tere", "'tree'"),
            ("generate-joblist in -o new -l tree", 2, "destination"),
            ("generate-joblist empty -o new -d out -l tree", 2, "/empty", "found none"),
            ("generate-joblist in -o new -d out -l plates", 2, "{plate}", "--layout"),
            (f"{_G} --set bucket=x", 2, "bucket", "tree"),
            (f"{_G} --set transfer.threads=3", 2, "transfer.threads", "transfer-worker"),
            (f"{_G} --set s3.regoin=x", 2, "regoin", "'region'"),
            (f"{_G} --set s3.secret_access_key=sesame", 2, "secret_access_key"),
            (f"{_G} --set word", 2, "word", "KEY=VALUE"),
            (f"{_G} --filter 'include *.tif'", 2, "include *.tif", "+ *.tif"),
            (f"{_G} --filter-from rules.txt", 2, "include *.tif"),
            (f"{_G} --filter-from rulse.txt", 2, "rulse.txt"),
            (f"{_G} --include '*.a' --exclude '*.b'", 2, "--filter"),
            (f"{_G} --min-size '3 megs'", 2, "--min-size", "3 megs"),
            (f"{_G} --steps cpoy", 2, "cpoy"),
            ("generate-joblist in -o new -d out -l layouts/table.toml", 2, "[layuot]"),
            ("generate-joblist in -o new -d out -l layouts/key.toml", 2, "'patern'", "'pattern'"),
            ("generate-joblist in -o new -d out -l layouts/field.toml", 2, "{y}", "which has x"),
            ("generate-joblist in -o new -d out -l layouts/brace.toml", 2, "brace.toml"),
            ("generate-joblist in -o new -d out -l layouts/broken.toml", 2, "isn't valid TOML"),
            ("generate-joblist in -o new -d out -l layouts/value.toml", 2, "{bucket}", "--set"),
            ("generate-joblist in -o new -d out -l layouts/nope.toml", 2, "nope.toml"),
            ("generate-joblist in -o list -d other -l tree", 2, "other", "--output-path"),
            ("generate-joblist in -o new -d out -l packages --set a=b", 2, "--set a"),
            ("generate-joblist in -o new -d out -l packages --items '{x'", 2, "{x"),
        ],
        "Settings of a joblist": [
            ("transfer-worker set-threads", 2, "joblist.toml", "threads", "a whole number"),
            ("transfer-worker set-zero", 2, "joblist.toml", "threads", "at least 1"),
            ("transfer-worker set-exists", 2, "if_exists", "'overwrite'"),
            ("transfer-worker set-bandwith", 2, "'bandwith'", "'bandwidth'"),
            ("transfer-worker set-bandwidth", 2, "bandwidth", "fast"),
            ("transfer-worker set-method", 2, "'rsnc'", "'rsync'"),
            ("transfer-worker set-table", 2, "'tranfser'", "'transfer'"),
            ("transfer-worker set-lease", 2, "'leaseseconds'", "'lease_seconds'"),
            ("transfer-worker set-methods", 2, "[methods.rsnc]", "[methods.rsync]"),
            ("transfer-worker set-provider", 2, "'proces'", "'process'"),
            ("transfer-worker set-region", 2, "'regoin'", "'region'"),
            ("transfer-worker set-secret", 2, "secret_access_key"),
            ("transfer-worker set-filters", 2, "'rule'", "'rules'"),
            ("transfer-worker set-rule", 2, "exclude *.tmp", "- *.tmp"),
            ("transfer-worker set-metrics", 2, "'textfle'", "'textfile'"),
            ("transfer-worker set-toml", 2, "joblist.toml", "isn't valid TOML"),
            ("transfer-worker set-newer", 2, "teleport", "Upgrade"),
        ],
        "Job files": [
            ("summarise-jobs job-status", 1, "'tdo'", "'todo'"),
            ("summarise-jobs job-done", 1, "line 1", "'Done'"),
            ("summarise-jobs job-source", 1, "'soruce'", "'source'"),
            ("summarise-jobs job-target", 1, "'destinaton'", "'destination'"),
            ("summarise-jobs job-line", 1, "copy these files", "key: value"),
            ("summarise-jobs job-end", 1, "'---'"),
            ("summarise-jobs job-newer", 0, "teleport", "Upgrade"),
            ("summarise-jobs job-number", 1, "failures", "some"),
            ("summarise-jobs job-time", 1, "not_before", "tomorrow"),
            ("summarise-jobs job-pair", 1, "file: SOURCE"),
            ("transfer-worker job-url", 1, "s4://"),
            ("transfer-worker lost", 1, "/in/item999", "item000"),
            ("jobtool methods job-done --job item000", 1, "item000.txt", "'Done'"),
        ],
        "Jobs by name": [
            ("jobtool show list item00O", 2, "item00O", "item000?"),
            ("jobtool show list plate", 2, "plate", "summarise /data/list --jobs"),
            ("jobtool verify done --job itm000", 2, "itm000", "item000?"),
            ("jobtool retry list --job itm000", 2, "itm000", "item000?"),
            ("jobtool retry list --job item000", 2, "item000", "todo already"),
            ("jobtool retry list --job item000 --match x", 2, "both"),
            ("jobtool retry list --step cpoy", 2, "'cpoy'", "'copy'"),
            ("jobtool release done --job itm000", 2, "itm000", "item000?"),
            ("jobtool methods list --job itm000", 2, "itm000", "item000?"),
        ],
        "Packages": [
            ("jobtool ls sites/cologne/buffer/night.ta", 1, "night.ta", "night.tar?"),
            ("jobtool ls sites/cologne/buffer/night.tar a/3", 1, "a/3", "jobtool ls"),
            ("jobtool cat sites/cologne/buffer/night.tar", 2, "MEMBER"),
            ("jobtool get sites/cologne/buffer/night.tar -d new", 2, "--all"),
            ("jobtool get sites/cologne/buffer/night.tar 'b/*' -d new", 1, "b/*"),
            ("jobtool ls a.csv", 1, "a.csv"),
            ("jobtool refs sites/cologne/buffer/night.tar -o no/refs.json", 2, "refs.json"),
            ("jobtool receive in -o received --then upnack", 2, "'upnack'", "'unpack'"),
            ("jobtool receive in -o received", 2, "--unpack"),
            ("jobtool receive sites/cologne/bufer -o received --unpack u", 2, "bufer"),
            (
                "jobtool receive in -o received --sites sites/sites.toml --site colgne",
                2,
                "colgne",
                "'cologne'",
            ),
        ],
        "Sites and the catalog": [
            ("jobtool routes sites/sites.toml --from chle --to hub", 2, "chle", "'chile'"),
            ("jobtool routes sites/sites.toml --from chile --to hub.bufer", 2, "'buffer'"),
            ("jobtool routes sites/sites.toml --from hub --to chile", 2, "hub", "chile"),
            ("jobtool routes routes/type.toml --from a --to b", 2, "'tpye'", "'type'"),
            ("jobtool routes routes/kind.toml --from a --to b", 2, "'rely'", "'relay'"),
            ("jobtool routes routes/site.toml --from a --to b", 2, "found d"),
            ("jobtool routes routes/table.toml --from a --to b", 2, "'rotues'", "'routes'"),
            ("jobtool routes sites/sites.toml --from chile --to hub --at noon", 2, "noon"),
            ("jobtool where d/scan_O7", 1, "d/scan_O7", "d/scan_07?"),
            ("jobtool copies --less-than 2 --site colgne", 2, "colgne", "'cologne'"),
            ("jobtool copies --state presnt", 2, "'presnt'", "'present'"),
            ("jobtool copies --sites nope.toml", 2, "nope.toml"),
            ("jobtool stage d/scan_O7", 1, "d/scan_O7", "d/scan_07?", "--skip-missing"),
            ("jobtool stage", 2, "items"),
            ("jobtool unstage d/scan_07", 1, "d/scan_07", "jobtool stage --list"),
            ("jobtool unstage", 2, "ITEM"),
        ],
        "Exports": [
            ("jobtool export --query 'select 1' -o rows -d out", 2, "--connection"),
            (f"{_E} --query 'selct 1'", 2, "selct"),
            (f"{_E} --query 'select 1 as id' --split-by idd", 2, "idd", "'id'"),
            (f"{_E} --query 'select 1 as id' --output-format parqet", 2, "'parquet'"),
            (f"{_E} --query 'select 1 as id' --chunk-size 5 --chunk-bytes 5MB", 2, "both"),
            (
                "jobtool export --connection sqlte:///x --query 'select 1' -o rows -d out",
                2,
                "sqlte://",
                "'sqlite'",
            ),
            ("jobtool export --connection rows.db --query 'select 1' -o rows -d out", 2, "rows.db"),
            (
                "jobtool export --connection postgresql://u:sesame@h/d --query q -o rows -d out",
                2,
                "JOBTOOL_QUERY_PASSWORD",
            ),
            ("impala-transfer --tabel x", 2, "'--tabel'"),
        ],
    }.items()
    for command, exit_code, *names in rows
)


def messages(place: World, cases: tuple[Case, ...] = CASES) -> Iterator[tuple[Case, Done, str]]:
    """Run commands; yield how each ended and its message."""
    for case, done in zip(cases, place.run(cases), strict=True):
        yield case, done, place.message(done)


def main() -> None:
    """Record the messages."""
    with tempfile.TemporaryDirectory() as folder:
        found = [
            {
                "topic": case.topic,
                "command": case.command,
                "exit_code": done.exit_code,
                "message": text,
            }
            for case, done, text in messages(world(Path(os.path.realpath(folder))))
        ]
    EXAMPLES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(found)} messages\n")


if __name__ == "__main__":
    main()
