"""Reads the real volumes, DICOM files and OME-Zarr images with nibabel, pydicom, highdicom and zarr, for the tests to compare with.

    python test/readers/volumes/make_reference.py ../shared/data

Needs the packages of test/requirements.txt. Writes fixtures/reference.json beside this file. Samples are told by the
SHA-256 of their values as float64, axes z, y, x, channel; lossy JPEG by means, for decoders may round the other way.
"""

import hashlib
import json
import sys
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import zarr
from pydicom.pixels import apply_rescale

root = Path(sys.argv[1])
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
TO_RAS = np.diag([-1.0, -1, 1, 1])


def file_hash(paths):
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def values(samples):
    """samples: (..., channels) in the order of the reader."""
    array = np.ascontiguousarray(samples, dtype="<f8")
    return {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}


def means(samples):
    flat = samples.reshape(-1, samples.shape[-1]).astype(float)
    return {"shape": list(samples.shape), "means": [round(float(m), 3) for m in flat.mean(0)]}


def entry(path, **rest):
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {"path": str(path.relative_to(root)), "files": file_hash(files), **rest}


def nifti(path):
    image = nibabel.load(path)
    data = image.dataobj.get_unscaled()
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    if (slope, intercept) != (1, 0):
        data = (data * np.float64(slope) + np.float64(intercept)).astype("f4")
    data = data.reshape(data.shape[:3])
    codes = "".join(nibabel.aff2axcodes(image.affine))
    return entry(path, **values(data.T[..., None]), affine=image.affine.tolist(), orientation=codes)


def plane(path):
    dataset = pydicom.dcmread(path)
    array = dataset.pixel_array
    if dataset.SamplesPerPixel == 1:
        array = array[..., None]
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        array = 2**dataset.BitsStored - 1 - array
    lossy = dataset.file_meta.TransferSyntaxUID in LOSSY
    samples = means(array) if lossy else values(apply_rescale(array, dataset))
    spacing = getattr(dataset, "PixelSpacing", None)
    return entry(path, **samples, spacing=None if spacing is None else [float(v) for v in spacing])


def series(path):
    datasets = [pydicom.dcmread(p) for p in sorted(path.iterdir()) if not p.name.startswith(("LICENSE", "README"))]
    for dataset in datasets:
        # Left out by who made the files anonymous; highdicom asks for it.
        dataset.SOPClassUID = dataset.get("SOPClassUID") or pydicom.uid.CTImageStorage
    volume = highdicom.get_volume_from_series(datasets, rtol=0.02)
    # Its axes are slice, row, column; ours the same, with z towards the normal of the plane.
    array, affine = volume.array, np.asarray(volume.affine)
    swap = np.eye(4)[[2, 1, 0, 3]]
    affine = TO_RAS @ affine @ swap
    normal = np.cross(affine[:3, 0] * [-1, -1, 1], affine[:3, 1] * [-1, -1, 1])
    if normal @ (affine[:3, 2] * [-1, -1, 1]) < 0:
        array = array[::-1]
        affine[:3, 3] += affine[:3, 2] * (len(array) - 1)
        affine[:3, 2] *= -1
    return entry(path, **values(array[..., None]), affine=affine.tolist())


def slide(path):
    image = pydicom.dcmread(path)
    try:
        array = highdicom.imread(path).get_total_pixel_matrix(apply_icc_profile=False, dtype=None)
    except (AttributeError, RuntimeError):
        # Without an origin on the glass highdicom places nothing: frames row by row, as TILED_FULL has them.
        frames = image.pixel_array
        across = -(-image.TotalPixelMatrixColumns // image.Columns)
        rows = [np.concatenate(frames[i : i + across], 1) for i in range(0, len(frames), across)]
        array = np.concatenate(rows)[: image.TotalPixelMatrixRows, : image.TotalPixelMatrixColumns]
    if array.ndim == 2:
        array = array[..., None]
    if image.PhotometricInterpretation == "MONOCHROME1":
        array = 2**image.BitsStored - 1 - array
    lossy = image.file_meta.TransferSyntaxUID in LOSSY
    if "SharedFunctionalGroupsSequence" not in image:
        size = [image.ImagedVolumeHeight / image.TotalPixelMatrixRows, image.ImagedVolumeWidth / image.TotalPixelMatrixColumns]
        return entry(path, **means(array), spacing=[float(v) * 1000 for v in size])
    measures = image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = [float(v) * 1000 for v in measures.PixelSpacing]
    return entry(path, **(means(array) if lossy else values(array)), spacing=spacing)


def ome_zarr(path):
    group = zarr.open_group(path, mode="r")
    attributes = dict(group.attrs)
    multiscale = attributes.get("ome", attributes)["multiscales"][0]
    axes = "".join(axis["name"] for axis in multiscale["axes"])
    array = group[multiscale["datasets"][0]["path"]][...]
    for name in "tczyx":
        if name not in axes:
            array, axes = array[None], name + axes
    array = array.transpose([axes.index(name) for name in "tzyxc"])[0]
    scale = next(t["scale"] for t in multiscale["datasets"][0]["coordinateTransformations"] if t["type"] == "scale")
    array = array[0] if array.shape[0] == 1 else array
    return entry(path, **values(array), scale=scale)


hippocampus = sorted((root / "vol-msd-hippocampus/images").glob("*.nii.gz"))[::23]
labels = [root / "vol-msd-hippocampus/labels" / p.name for p in hippocampus[:3]]
niftis = [*sorted((root / "volumes").rglob("*.nii.gz")), *hippocampus, *[p for p in labels if p.exists()]]
test_files = root / "dicom/highdicom/data/test_files"
small = sorted((root / "dicom/pydicom").glob("*.dcm"))
# Segmentations, films, and JPEG of 12 bits: refused by us.
refused = {"liver_1frame.dcm", "examples_ybr_color.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"}
# In the folder of broken files for its header, which breaks rules that do not matter here.
slides = [root / "slides/broken/small_dicom.dcm"]
slides += sorted(p for p in (root / "dicom").rglob("*") if p.suffix == ".dicom" or p.name.startswith(("sm_image", "multi_frame")))
zarrs = root / "zarr"
zarr_images = [
    *[zarrs / "zarr-ome-examples/data/valid" / f"image-0{i}.zarr" for i in (2, 3, 4)],
    *[zarrs / "zarr-ngio-fixtures/tests/data/v04/images" / f"test_image_{a}.zarr" for a in ("yx", "cyx", "c1yx", "zyx", "czyx")],
    *[zarrs / "zarr-viv-fixtures/packages/loaders/tests/fixtures/ome-zarr" / f"blobs_image_v0{v}.ome.zarr" for v in (4, 5)],
]

reference = {
    "nifti": [nifti(p) for p in niftis],
    "planes": [plane(p) for p in [*small, test_files / "ct_image.dcm", test_files / "dx_image.dcm"] if p.name not in refused],
    "series": [series(root / "volumes/totalseg-ct/example_ct_dicom")],
    "slides": [slide(p) for p in slides],
    "zarr": [ome_zarr(p) for p in zarr_images],
}
out = Path(__file__).parent / "fixtures/reference.json"
out.write_text(json.dumps(reference, indent=1) + "\n")
print({kind: len(entries) for kind, entries in reference.items()})
