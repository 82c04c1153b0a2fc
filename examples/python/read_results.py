"""Reads the results of a run: python read_results.py <out>.

Labels are OME-Zarr 0.5 and OME-TIFF, objects are GeoJSON, measurements are CSV, and run.json says how they were made.
"""

import csv
import json
import pathlib
import sys

import numpy as np
import tifffile
import zarr

out = pathlib.Path(sys.argv[1])
run = json.loads((out / "run.json").read_text())

# Level 0 of the pyramid: the class of every pixel, [height, width].
labels = zarr.open_group(out / "labels.ome.zarr", mode="r")["0"][:]
assert np.array_equal(labels, tifffile.imread(out / "labels.ome.tiff"))
classes, counts = np.unique(labels, return_counts=True)
mpp = run["plan"]["levelMpp"][-1]
print(f"{labels.shape[1]}×{labels.shape[0]} pixels at {mpp} µm:", dict(zip(classes.tolist(), counts.tolist())))

# One polygon per object, in level-0 pixels.
features = json.loads((out / "objects.geojson").read_text())["features"]
areas = [feature["properties"]["measurements"]["Area µm^2"] for feature in features]
print(f"{len(features)} objects, median area {np.median(areas):.1f} µm²")

# A table for pandas: its rows with the level "object" are these objects.
with open(out / "measurements.csv", newline="") as table:
    rows = [row for row in csv.DictReader(table) if row["level"] == "object"]
assert [row["id"] for row in rows] == [feature["id"] for feature in features]
print(f"{len(rows)} rows in measurements.csv, made by {run['model']['name']} {run['model']['version']}")
