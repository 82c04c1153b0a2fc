"""Makes volumes with nibabel and pydicom, seeded, and tells what a reader must see in them.

    python test/readers/volumes/make_files.py <directory>

Needs the packages of test/requirements.txt; `--can-run` tells whether they are there. Writes the files and expected.json:
values by the SHA-256 of their float64, axes z, y, x, channel; affines as nibabel has them.
"""

import gzip
import hashlib
import itertools
import json
import sys
from pathlib import Path

import imagecodecs
import jpeg_ls
import nibabel
import numpy as np
import openjpeg  # noqa: F401  the encoder that pydicom takes
import pydicom
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
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

# Every way to lie in the patient, by each transform.
for code in itertools.product("LR", "PA", "IS"):
    for axes in itertools.permutations(range(3)):
        letters = "".join(code[axis] for axis in axes)
        shape = tuple(rng.integers(2, 6, 3))
        affine = np.eye(4)
        affine[:3, :3] = 0
        for column, axis in enumerate(axes):
            affine[axis, column] = (1.5, 2, 2.5)[column] * (-1 if code[axis] in "LPI" else 1)
        affine[:3, 3] = rng.uniform(-90, 90, 3)
        data = rng.integers(-999, 999, shape).astype("i2")
        for form in ("sform", "qform"):
            image = nibabel.Nifti1Image(data, None)
            image.set_sform(affine if form == "sform" else None, code=int(form == "sform"))
            image.set_qform(affine if form == "qform" else None, code=int(form == "qform"))
            name = f"{letters}-{form}.nii"
            nibabel.save(image, out / name)
            read = nibabel.load(out / name)
            axcodes = "".join(nibabel.aff2axcodes(read.affine))
            assert axcodes == letters
            expect(name, data.T[..., None], affine=read.affine.tolist(), orientation=axcodes, stated=axcodes)


def edited(source, name, edits, padding=b""):
    content = bytearray((out / source).read_bytes())
    for at, kind, values in edits:
        content[at : at + np.dtype(kind).itemsize * len(values)] = np.array(values, kind).tobytes()
    written = bytes(content)
    (out / name).write_bytes(gzip.compress(written) + padding if name.endswith(".gz") else written)
    return nibabel.load(out / name)


# Headers that nibabel repairs, and what lies behind a gzip member.
data = rng.integers(-999, 999, (3, 4, 5)).astype("i2")
image = nibabel.Nifti1Image(data, None)
image.set_qform(random_affine() @ np.diag([1, 1, 1, 1]), code=1)
nibabel.save(image, out / "plain-source.nii")
zooms = image.header.get_zooms()
for name, edits in {
    "negative-i.nii": [(80, "<f4", [-zooms[0]])],
    "negative-all.nii": [(80, "<f4", [-z for z in zooms])],
    "negative-no-transform.nii": [(80, "<f4", [-z for z in zooms]), (252, "<i2", [0, 0])],
    "padded.nii.gz": [],
}.items():
    read = edited("plain-source.nii", name, edits, padding=bytes(777))
    axcodes = "".join(nibabel.aff2axcodes(read.affine))
    stated = None if "no-transform" in name else axcodes
    expect(name, data.T[..., None], affine=read.affine.tolist(), orientation=axcodes, stated=stated)
(out / "plain-source.nii").unlink()

# Several volumes in one file.
series = rng.integers(0, 999, (3, 4, 5, 4)).astype("i2")
for suffix in (".nii", ".nii.gz"):
    nibabel.save(nibabel.Nifti1Image(series, random_affine()), out / f"series{suffix}")
    read = nibabel.load(out / f"series{suffix}")
    axcodes = "".join(nibabel.aff2axcodes(read.affine))
    for time in (1, 4):
        volume = series[..., time - 1].T[..., None]
        expect(f"series{suffix}?{time}", volume, affine=read.affine.tolist(), orientation=axcodes, stated=axcodes)

# Without a preamble, and without the group that tells how it is encoded.
for uid, label in [(ImplicitVRLittleEndian, "implicit"), (ExplicitVRLittleEndian, "explicit")]:
    array = rng.integers(0, 4096, (9, 14)).astype("u2")
    ds = dataset(array, uid, False, 12)
    ds.PixelData = array.tobytes()
    ds["PixelData"].VR = "OW"
    implicit = uid == ImplicitVRLittleEndian
    with open(out / f"bare-{label}.dcm", "wb") as file:
        del ds.file_meta
        pydicom.dcmwrite(file, ds, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert (out / f"bare-{label}.dcm").read_bytes()[128:132] != b"DICM"
    expect(f"bare-{label}.dcm", array[..., None])

# Palettes of 8 and 16 bits, as pydicom applies them.
for bits, kind in [(8, "u1"), (16, "u2")]:
    array = rng.integers(0, 250, (9, 14)).astype("u1")
    ds = dataset(array, ExplicitVRLittleEndian, False, 8, "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        lut = rng.integers(0, 2**bits, 200).astype(kind)
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [200, 20, bits])
        setattr(ds, f"{colour}PaletteColorLookupTableData", lut.tobytes())
    save(f"palette-{bits}.dcm", ds, array)
    colours = apply_color_lut(array, pydicom.dcmread(out / f"palette-{bits}.dcm"))
    expect(f"palette-{bits}.dcm", colours >> (bits - 8))

# Codings that pydicom reads and does not write.
for label, uid, stored, encode in [
    ("htj2k", HTJ2KLossless, 8, lambda a: imagecodecs.htj2k_encode(a, reversible=True)),
    ("htj2k", HTJ2KLossless, 16, lambda a: imagecodecs.htj2k_encode(a, reversible=True)),
    ("lossless", JPEGLosslessSV1, 8, lambda a: imagecodecs.jpeg_encode(a, lossless=True)),
    ("lossless", JPEGLosslessSV1, 12, lambda a: imagecodecs.jpeg_encode(a, lossless=True, bitspersample=12)),
    ("lossless", JPEGLosslessSV1, 16, lambda a: imagecodecs.ljpeg_encode(a, bitspersample=16)),
]:
    array = rng.integers(0, 2**stored, (37, 53)).astype("u1" if stored == 8 else "u2")
    # Flat corners have the shortest codes.
    array[-5:] = 2 ** (stored - 1)
    ds = dataset(array, ExplicitVRLittleEndian, False, stored)
    ds.file_meta.TransferSyntaxUID = uid
    ds.PixelData = encapsulate([encode(array)])
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    ds.save_as(out / f"{label}-{stored}.dcm", enforce_file_format=True)
    expect(f"{label}-{stored}.dcm", array[..., None])

# Slices that highdicom puts into one file: legacy converted enhanced CT.
slices = []
volume = rng.integers(0, 4096, (5, 12, 10)).astype("u2")
study, series_uid, frame = (pydicom.uid.generate_uid(entropy_srcs=[name]) for name in ("study", "series", "frame"))
for z in range(5):
    ds = dataset(volume[z], ExplicitVRLittleEndian, False, 12)
    ds.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["enhanced", str(z)])
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series_uid, frame
    ds.ImageType, ds.Manufacturer, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], "m", z + 1
    ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.StudyID = ds.StudyDate = ds.StudyTime = ""
    ds.ReferringPhysicianName = ds.ContentDate = ds.ContentTime = ds.PositionReferenceIndicator = ""
    ds.SeriesNumber, ds.SliceThickness, ds.PixelSpacing = 1, 2.5, [0.75, 0.5]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30 + 2.5 * z], [1, 0, 0, 0, 1, 0]
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.PixelData = volume[z].tobytes()
    ds["PixelData"].VR = "OW"
    slices.append(ds)
enhanced = LegacyConvertedEnhancedCTImage(
    legacy_datasets=slices,
    series_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["enhanced"]),
    series_number=2,
    sop_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["enhanced object"]),
    instance_number=1,
)
enhanced.save_as(out / "enhanced.dcm")
affine = [[-0.5, 0, 0, -10], [0, -0.75, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]]
expect("enhanced.dcm", volume[..., None].astype("i4") - 1024, affine=affine, orientation="LPS", stated="LPS")

(out / "expected.json").write_text(json.dumps(expected))
