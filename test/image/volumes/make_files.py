"""Makes volumes with nibabel and pydicom, seeded, and tells what a reader must see in them.

    python test/image/volumes/make_files.py <directory>

Needs the packages of test/requirements.txt; `--can-run` tells whether they are there. Writes the files and expected.json:
values by the SHA-256 of their float64, axes z, y, x, channel; affines as nibabel has them.
"""

import hashlib
import itertools
import json
import sys
from pathlib import Path

import jpeg_ls
import nibabel
import numpy as np
import openjpeg  # noqa: F401  the encoder that pydicom takes
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    VLWholeSlideMicroscopyImageStorage,
)

if sys.argv[1] == "--can-run":
    sys.exit()

out = Path(sys.argv[1])
rng = np.random.default_rng(7)
expected = {}


def expect(name, samples, **rest):
    array = np.ascontiguousarray(samples, dtype="<f8")
    expected[name] = {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest(), **rest}


def random_affine():
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.4, 4, 3)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "u8", "f4", "f8"]
for kind, endian, version, form in itertools.product(TYPES, "<>", (1, 2), ("sform", "qform", "none")):
    dtype = np.dtype(endian + kind)
    shape = tuple(rng.integers(2, 7, 3))
    if kind[0] == "f":
        data = rng.normal(0, 100, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        low, high = max(limits.min, -(2**52)), min(limits.max, 2**52)
        data = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    cls = (nibabel.Nifti1Image, nibabel.Nifti2Image)[version - 1]
    header = cls.header_class(endianness=endian)
    header.set_data_dtype(dtype)
    image = cls(data, None, header)
    if form != "none":
        affine = random_affine()
        image.set_sform(affine if form == "sform" else None, code=int(form == "sform"))
        image.set_qform(affine, code=1)
    suffix = ".nii.gz" if rng.integers(2) else ".nii"
    name = f"{kind}-{'little' if endian == '<' else 'big'}-{version}-{form}{suffix}"
    nibabel.save(image, out / name)
    if kind in ("u1", "i1", "u2", "i2") and suffix == ".nii" and form == "qform":
        # Into the header that was written: nibabel would store other numbers for a scale.
        at, real = ((112, "f4"), (176, "f8"))[version - 1]
        with open(out / name, "r+b") as file:
            file.seek(at)
            file.write(np.array([0.3, -3.7], endian + real).tobytes())
    read = nibabel.load(out / name)
    values = read.dataobj.get_unscaled()
    slope, intercept = read.dataobj.slope, read.dataobj.inter
    if (slope, intercept) != (1, 0):
        # Rounded once, at the end; nibabel rounds in between where the header has 32 bits.
        values = (values * np.float64(slope) + np.float64(intercept)).astype("f4")
        assert np.allclose(values, read.get_fdata(), rtol=1e-6)
    expect(name, values.T[..., None], affine=read.affine.tolist(), orientation="".join(nibabel.aff2axcodes(read.affine)))


def dataset(array, uid, signed, stored, photometric="MONOCHROME2"):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, pydicom.uid.generate_uid(entropy_srcs=[str(len(expected))])
    ds.Modality, ds.PatientName, ds.PatientID = "CT", "Jane^Quux", "4711"
    ds.Rows, ds.Columns = array.shape[:2] if array.ndim < 4 else array.shape[1:3]
    ds.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * array.itemsize, stored, stored - 1
    ds.PixelRepresentation = int(signed)
    return ds


def save(name, ds, array):
    little = ds.file_meta.TransferSyntaxUID != ExplicitVRBigEndian
    ds.PixelData = array.astype(array.dtype.newbyteorder("<" if little else ">")).tobytes()
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    pydicom.dcmwrite(out / name, ds, enforce_file_format=True)


for uid, label in [
    (ImplicitVRLittleEndian, "implicit"),
    (ExplicitVRLittleEndian, "explicit"),
    (ExplicitVRBigEndian, "bigendian"),
    (DeflatedExplicitVRLittleEndian, "deflated"),
]:
    for signed, stored in itertools.product((False, True), (12, 16)):
        low = -(2 ** (stored - 1)) if signed else 0
        array = rng.integers(low, low + 2**stored, (9, 14)).astype("i2" if signed else "u2")
        name = f"{label}-{'signed' if signed else 'unsigned'}-{stored}.dcm"
        save(name, dataset(array, uid, signed, stored), array)
        expect(name, array[..., None])

for uid, label in [(RLELossless, "rle"), (JPEG2000Lossless, "jpeg2000"), (JPEGLSLossless, "jpegls")]:
    for signed, stored in itertools.product((False, True), (8, 12, 16)):
        if stored == 8 and label == "jpegls" and signed:
            continue
        low = -(2 ** (stored - 1)) if signed else 0
        kind = ("i" if signed else "u") + ("1" if stored == 8 else "2")
        array = rng.integers(low, low + 2**stored, (45, 38)).astype(kind)
        name = f"{label}-{'signed' if signed else 'unsigned'}-{stored}.dcm"
        ds = dataset(array, ExplicitVRLittleEndian, signed, stored)
        ds.PixelData = array.tobytes()
        ds["PixelData"].VR = "OW" if stored > 8 else "OB"
        ds.compress(uid, generate_instance_uid=False)
        ds.save_as(out / name, enforce_file_format=True)
        expect(name, array[..., None])
    colour = rng.integers(0, 256, (41, 35, 3)).astype("u1")
    ds = dataset(colour, ExplicitVRLittleEndian, False, 8, "RGB")
    ds.PixelData = colour.tobytes() + b"\0" * (colour.size % 2)
    ds["PixelData"].VR = "OB"
    ds.compress(uid, generate_instance_uid=False)
    ds.save_as(out / f"{label}-colour.dcm", enforce_file_format=True)
    expect(f"{label}-colour.dcm", colour)

# A slide of 3 × 4 tiles of JPEG-LS in each of the three ways to tell where they are.
matrix = rng.integers(0, 256, (35, 50, 3)).astype("u1")
padded = np.pad(matrix, ((0, 1), (0, 2), (0, 0)))
frames = [padded[y : y + 12, x : x + 13] for y in range(0, 36, 12) for x in range(0, 52, 13)]
for way in ("basic", "extended", "none"):
    ds = dataset(np.stack(frames), ExplicitVRLittleEndian, False, 8, "RGB")
    ds.SOPClassUID, ds.Modality = VLWholeSlideMicroscopyImageStorage, "SM"
    ds.ImageType, ds.DimensionOrganizationType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "TILED_FULL"
    ds.NumberOfFrames = len(frames)
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = matrix.shape[:2]
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = [0.0005, 0.0005]
    groups.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [groups]
    coded = [bytes(jpeg_ls.encode_array(np.ascontiguousarray(frame))) for frame in frames]
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    if way == "extended":
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(coded)
    else:
        # Several fragments a frame, where the table tells them apart.
        ds.PixelData = encapsulate(coded, has_bot=way == "basic", fragments_per_frame=2 if way == "basic" else 1)
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    ds.save_as(out / f"slide-{way}.dcm", enforce_file_format=True)
    expect(f"slide-{way}.dcm", matrix)

(out / "expected.json").write_text(json.dumps(expected))
