"""Opens the outputs of a run with the tools of the field and complains about what they would.

    python test/orchestrator/outputs/validate_outputs.py <run directory>

Needs: pip install "zarr>=3" ome-zarr-models tifffile imagecodecs shapely, and nibabel for volumes
More is checked with: pip install pyarrow ngff-zarr jsonschema ome-types xmlschema openslide-python openslide-bin
Exit status 1 and a sentence on the first complaint.
"""
import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import tifffile
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from shapely import from_wkb, union_all
from shapely.geometry import shape
from shapely.validation import explain_validity


def mode_of_blocks(level, next_shape):
    """Most frequent of each 2x2 block; ties to the object, then to the smaller label; ragged edges vote alone."""
    if level.ndim == 3:  # Slices of a volume are halved one by one, for their chunks hold one.
        return np.stack([mode_of_blocks(plane, next_shape[1:]) for plane in level])
    h, w = next_shape
    # An edge sample repeated votes twice with itself, which changes no majority.
    padded = np.pad(level, ((0, 2 * h - level.shape[0]), (0, 2 * w - level.shape[1])), mode="edge")
    votes = padded.reshape(h, 2, w, 2).transpose(0, 2, 1, 3).reshape(h, w, 4)
    count = (votes[..., :, None] == votes[..., None, :]).sum(-1)
    # Order: count, then not background, then the smaller.
    key = count.astype(np.int64) << 40
    key += (votes > 0).astype(np.int64) << 36
    key += (1 << 33) - votes.astype(np.int64)
    return np.take_along_axis(votes, key.argmax(-1)[..., None], -1)[..., 0]


def check_pyramid(name, levels):
    for upper, lower in zip(levels, levels[1:]):
        halved = upper.shape[:-2] + tuple(-(-n // 2) for n in upper.shape[-2:])
        assert lower.shape == halved, f"{name}: {upper.shape} halves to {lower.shape}"
        assert np.array_equal(mode_of_blocks(upper, lower.shape), lower), f"{name}: level {lower.shape} is not the mode"


def check_ngff_schema(path):
    """The JSON schemas of the OME-Zarr 0.5 specification, strict ones too, as ngff-zarr carries them."""
    try:
        import jsonschema
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        folder = files("ngff_zarr") / "spec" / "0.5" / "schemas"
    except ImportError:
        return "no"
    schemas = {f.name: json.loads(f.read_text()) for f in folder.iterdir() if f.name.endswith(".schema")}
    registry = Registry().with_resources((s["$id"], DRAFT202012.create_resource(s)) for s in schemas.values() if "$id" in s)
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    for name in ("image", "label", "strict_image", "strict_label"):
        validator = jsonschema.Draft202012Validator(schemas[f"{name}.schema"], registry=registry)
        for error in validator.iter_errors(attributes):
            raise AssertionError(f"{path.name} against {name}.schema: {error.message}")
    return "strict"


def check_ome_xsd(xml):
    try:
        from ome_types import validate_xml
    except ImportError:
        return "no"
    validate_xml(xml)
    return "valid"


def check_zarr(path):
    group = zarr.open_group(path, mode="r")
    model = ImageLabel.from_zarr(group)
    multiscale = model.ome_attributes.multiscales[0]
    levels = [group[d.path][:] for d in multiscale.datasets]
    check_pyramid(path.name, levels)
    scales = [d.coordinateTransformations[0].scale for d in multiscale.datasets]
    moves = [d.coordinateTransformations[1].translation for d in multiscale.datasets]
    for level, (scale, move) in enumerate(zip(scales, moves)):
        corner = np.array(move) - np.array(scale) / 2
        assert np.allclose(corner, np.array(moves[0]) - np.array(scales[0]) / 2), f"{path.name}: level {level} is shifted"
    colors = model.ome_attributes.image_label.colors or []
    print(f"  {path.name}: OME-Zarr {model.ome_attributes.version}, {levels[0].dtype}, "
          f"levels {[l.shape for l in levels]}, scale {scales[0]}, {len(colors)} colours, "
          f"JSON schema: {check_ngff_schema(path)}")
    return levels[0]


def check_nifti(path):
    """With nibabel: what the header says of labels, and where they lie beside the OME-Zarr of the same run."""
    import nibabel

    image = nibabel.load(path)
    header = image.header
    assert header.get_data_dtype() == np.uint8 and header.get_intent()[0] == "label", f"{path.name}: no labels"
    assert header.get_slope_inter() in ((1, 0), (None, None)), f"{path.name}: scaled"
    multiscale = ImageLabel.from_zarr(zarr.open_group(path.parent / "labels.ome.zarr", mode="r")).ome_attributes.multiscales[0]
    assert [axis.unit for axis in multiscale.axes] == ["millimeter"] * 3
    scale = multiscale.datasets[0].coordinateTransformations[0].scale
    zooms = nibabel.affines.voxel_sizes(image.affine)
    assert np.allclose(zooms[::-1], scale, rtol=1e-5), f"{path.name}: samples {zooms} apart, in OME-Zarr {scale}"
    print(f"  {path.name}: NIfTI {''.join(nibabel.aff2axcodes(image.affine))}, {image.shape}, {zooms} mm, "
          f"sform {int(header['sform_code'])}, qform {int(header['qform_code'])}")
    return np.asanyarray(image.dataobj).T


def check_tiff(path):
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome, f"{path.name} is not taken for OME-TIFF"
        series = tiff.series[0]
        levels = [level.asarray() for level in series.levels]
        page = tiff.pages[0]
        ome = tifffile.xml2dict(tiff.ome_metadata)["OME"]
        pixels = ome["Image"]["Pixels"]
        check_pyramid(path.name, levels)
        assert pixels["Type"] == str(levels[0].dtype)
        print(f"  {path.name}: {'BigTIFF' if tiff.is_bigtiff else 'TIFF'}, {levels[0].dtype}, {page.compression.name}, "
              f"tiles {page.tile}, levels {[l.shape for l in levels]}, "
              f"{pixels.get('PhysicalSizeX')} x {pixels.get('PhysicalSizeY')} µm, XSD: {check_ome_xsd(tiff.ome_metadata)}")
    try:
        import openslide
    except ImportError:
        return levels[0]
    if levels[0].dtype == np.uint8:
        with openslide.OpenSlide(path) as slide:
            h, w = levels[0].shape
            assert slide.dimensions == (w, h), f"OpenSlide sees {slide.dimensions}"
            read = np.asarray(slide.read_region((0, 0), 0, (w, h)))
            assert np.array_equal(read[..., 0], levels[0]), f"{path.name}: OpenSlide reads other samples"
            print(f"  {path.name}: OpenSlide reads it as {slide.properties['openslide.vendor']}")
    return levels[0]


def check_geojson(path):
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    shapes, ids = [], set()
    for feature in collection["features"]:
        assert feature["type"] == "Feature" and {"geometry", "properties", "id"} <= feature.keys()
        ids.add(feature["id"])
        geometry = shape(feature["geometry"])
        assert geometry.is_valid, f"{feature['id']}: {explain_validity(geometry)}"
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ccw, f"{feature['id']}: exterior is clockwise"
            assert not any(hole.is_ccw for hole in polygon.interiors), f"{feature['id']}: a hole is counter-clockwise"
        shapes.append(geometry)
    assert len(ids) == len(shapes), "feature ids repeat"
    total = sum(s.area for s in shapes)
    merged = union_all(shapes).area
    assert abs(total - merged) <= 1e-6 * max(total, 1), f"objects overlap by {total - merged} square pixels"
    print(f"  {path.name}: {len(shapes)} valid features that do not overlap, {sum(s.geom_type == 'MultiPolygon' for s in shapes)} of several parts")
    return collection, shapes


def check_parquet(path, collection):
    """Rows of a GeoParquet file, read with pyarrow and shapely, are the features of a GeoJSON file."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        return
    file = parquet.ParquetFile(path)
    geo = json.loads(file.metadata.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert geo["version"] == "1.1.0" and column["encoding"] == "WKB" and column["crs"] is None, "geo metadata"
    rows = file.read().to_pylist()
    features = {f["id"]: f for f in collection["features"]}
    assert len(rows) == len(features), f"{path.name} has {len(rows)} rows, the GeoJSON {len(features)} features"
    for row in rows:
        geometry = from_wkb(row["geometry"])
        assert geometry.is_valid, explain_validity(geometry)
        assert geometry.geom_type in column["geometry_types"], geometry.geom_type
        other = shape(features[row["id"]]["geometry"])
        assert geometry.equals_exact(other, tolerance=1e-3), f"object {row['number']} differs"
        box = row["bbox"]
        x0, y0, x1, y1 = geometry.bounds
        assert box["xmin"] <= x0 and box["ymin"] <= y0 and box["xmax"] >= x1 and box["ymax"] >= y1, "box too small"
    print(f"  {path.name}: {len(rows)} rows in {file.num_row_groups} row groups, equal to the GeoJSON")


def main(directory):
    print(f"{directory}:")
    maps = {}
    for name in ("labels", "instances"):
        for suffix, check in ((".ome.zarr", check_zarr), (".ome.tiff", check_tiff), (".nii.gz", check_nifti)):
            path = directory / f"{name}{suffix}"
            if path.exists():
                data = check(path)
                assert name not in maps or np.array_equal(maps[name], data), f"{path.name} differs from the other format"
                maps[name] = data
    if (directory / "objects.geojson").exists():
        collection, shapes = check_geojson(directory / "objects.geojson")
        if (directory / "objects.parquet").exists():
            check_parquet(directory / "objects.parquet", collection)
        if "instances" in maps:
            counts = np.bincount(maps["instances"].ravel(), minlength=len(shapes) + 1)
            pixel = {f["properties"]["measurements"]["Object number"]: s.area for f, s in zip(collection["features"], shapes)}
            ratio = {round(pixel[n] / counts[n], 6) for n in pixel}
            assert len(counts) == len(shapes) + 1 and len(ratio) <= 1, "polygons and object map disagree in area"
            print(f"  objects.geojson and instances agree: {len(shapes)} objects")


if __name__ == "__main__":
    if sys.argv[1:] == ["--can-run"]:
        sys.exit(0)
    try:
        main(Path(sys.argv[1]))
    except AssertionError as complaint:
        sys.exit(f"invalid: {complaint}")
