"""Reads a DICOM segmentation with highdicom and pydicom and compares it with the labels it was made from.

    python test/writers/validate_dicom_seg.py <directory>

The directory holds labels.seg.dcm, labels.raw (class indices, uint8) and labels.json: `shape`; of a volume `affine`, which
leads from (z, y, x) to millimetres of the patient, LPS+. Exit status 1 and a sentence on the first complaint.
"""
import json
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom

if sys.argv[1] == "--can-run":
    sys.exit()
directory = Path(sys.argv[1])
expected = json.loads((directory / "labels.json").read_text())
labels = np.fromfile(directory / "labels.raw", np.uint8).reshape(expected["shape"])
path = directory / "labels.seg.dcm"

dataset = pydicom.dcmread(path)
assert dataset.pixel_array.size == int(dataset.NumberOfFrames) * dataset.Rows * dataset.Columns
segmentation = highdicom.seg.segread(path)
assert [s.segment_label for s in segmentation.SegmentSequence] == expected["segments"], "other segments"

if labels.ndim == 2:
    matrix = segmentation.get_total_pixel_matrix(combine_segments=True)
    assert np.array_equal(matrix, labels), "the total pixel matrix differs"
else:
    volume = segmentation.get_volume(combine_segments=True)
    # Places of the samples that are labelled, in the patient: highdicom may go through the slices the other way.
    def places(array, affine):
        index = np.argwhere(array)
        world = index @ np.array(affine)[:3, :3].T + np.array(affine)[:3, 3]
        rows = np.column_stack([np.round(world, 2) + 0.0, array[array > 0]])
        return rows[np.lexsort(rows.T)]

    found, wanted = places(volume.array, volume.affine), places(labels, expected["affine"])
    assert found.shape == wanted.shape, f"{len(found)} labelled samples where {len(wanted)} were written"
    assert np.abs(found - wanted).max() < 0.011 if len(found) else True, "labels lie elsewhere in the patient"
print(f"{dataset.SOPClassUID.name}, {dataset.SegmentationType}: {dataset.NumberOfFrames} frames are as they were written")
