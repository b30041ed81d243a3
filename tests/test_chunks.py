"""`partial_fit` over the chunks of a file, as the page on scale has it, holds a chunk at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

# Growth of the process's peak memory after the first two chunks, in bytes: Linux.
PROGRAM = """
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sklearn.datasets import make_friedman1
from skprop import MLPSigmoidRegressor

CHUNK, kind, path = 4_000, sys.argv[1], sys.argv[2]

def resident(field):
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024

def table(k):
    X, y = make_friedman1(CHUNK, n_features=20, noise=0.5, random_state=k)
    return pa.table({f"x{j}": x for j, x in enumerate(X.T)} | {"y": y})

write = pa.csv.CSVWriter if kind == "csv" else pq.ParquetWriter
with write(path, table(0).schema) as file:
    for k in range(40):
        file.write_table(table(k))

def chunks():
    if kind == "csv":
        yield from pd.read_csv(path, chunksize=CHUNK)
    else:
        for batch in pq.ParquetFile(path).iter_batches(CHUNK):
            yield batch.to_pandas()

model = MLPSigmoidRegressor(10, solver="adam", learning_rate_init=0.01, random_state=0)
for k, chunk in enumerate(chunks()):
    model.partial_fit(chunk.drop(columns="y"), chunk["y"])
    if k == 1:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
X, y = make_friedman1(2000, n_features=20, random_state=99)
print(k + 1, model.score(pd.DataFrame(X, columns=model.feature_names_in_), y))
print((resident("VmHWM") - before) / (40 * CHUNK * 20 * 8))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="VmHWM is Linux's")
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_is_learnt_chunk_by_chunk_with_memory_for_a_part_of_it(kind, tmp_path):
    command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path / "rows")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    counted, growth = run.stdout.splitlines()
    n_chunks, score = counted.split()
    assert int(n_chunks) == 40
    assert float(score) > 0.9
    assert float(growth) < 0.5  # of X; a chunk is a fortieth
