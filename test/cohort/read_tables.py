"""Reads a cohort's tables as analysts do. Prints what each reader saw.

    python read_tables.py <directory>
"""

import json
import sys

import duckdb
import pandas as pd
import pyarrow  # noqa: F401  (what pandas reads Parquet with)

if sys.argv[1] == "--can-run":
    sys.exit(0)

root = sys.argv[1]
objects = pd.read_parquet(f"{root}/objects")
assert (objects["id"].astype(str) == objects["slide_id"]).sum() >= len(objects) - 1, "the folder names the slide"
query = f"""select slide_id, count(*) from read_parquet('{root}/objects/**/*.parquet', hive_partitioning=true)
            group by slide_id"""
cohort = duckdb.sql(f"select id, status, site, count_cell from '{root}/cohort.parquet'").fetchall()
print(
    json.dumps(
        {
            "pandas": {key: int(n) for key, n in objects.groupby("slide_id").size().items()},
            "duckdb": dict(duckdb.sql(query).fetchall()),
            "cohort": [list(row) for row in cohort],
        }
    )
)
