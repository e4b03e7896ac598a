"""A sweep through a store that speaks S3, in processes as a cluster would start them: the same bytes as in a folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from s3_server import S3Server, s3_server  # noqa: F401 - a fixture, used by its name
from sweep_samples import cell_files, process_environment, shard_command, whole_run, write_sweep

from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.open import open_objects


def test_shards_on_s3_in_any_order_give_the_folders_bytes(tmp_path: Path, s3_server: S3Server) -> None:  # noqa: F811 - the fixture of that name
    path = write_sweep(tmp_path)
    local = FolderObjects(tmp_path / "objects")
    expected = whole_run(path, local)
    address = f"s3://{s3_server.new_bucket()}/research"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        verb = shard_command("", "")[:2]
        return subprocess.run(
            [*verb, "sweep", *words, "--store", address],
            capture_output=True,
            text=True,
            check=False,
            env={**process_environment(), **s3_server.environment},
        )

    planned = run("plan", "--config", str(path), "--id-file", str(tmp_path / "id"))
    assert planned.returncode == 0, planned.stderr
    sweep_id = (tmp_path / "id").read_text().strip()
    assert sweep_id == expected.sweep.sweep_id
    for shard, workers in ((1, 2), (0, 1)):
        done = run("run", "--sweep", sweep_id, "--shard", str(shard), "--shards", "2", "--workers", str(workers))
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "run      30 computed, 0 found"
    gathered = run("gather", "--sweep", sweep_id, "--json")

    assert gathered.returncode == 0, gathered.stderr
    assert json.loads(gathered.stdout)["root_digest"] == expected.root_digest
    store = open_objects(address, s3_server.environment)
    assert {key: store.get(key) for key in store.keys("cells/")} == cell_files(local)
    assert sorted(key.rpartition("/")[2] for key in store.keys(f"sweeps/{sweep_id}/results/")) == [
        "cells.parquet",
        "sweep.html",
        "sweep.json",
    ]
