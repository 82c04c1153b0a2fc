"""Checkpoint to ONNX: pixels float32 [N,3,S,S], already normalised -> logits float32 [N,K,S,S].

    python model/export_onnx.py runs/nuclei/best.pt --out runs/nuclei/nuclei-fp32.onnx [--bands 14]

The final expand, norm and classifier run in `bands` bands of token rows: the same numbers, and the largest activation
shrinks by that factor (it is the peak of a small runtime's heap). Width 48 in int4, one thread, ONNX Runtime on CPU: 72 MB
at 1 band, 59 at 4, 53 at 14, and 0.051 s a window at all of them. Ends by comparing
torch and ONNX Runtime on random input and refuses to leave a file behind that disagrees.
"""
from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")      # on by default; read when the runtime is loaded

import numpy as np
import onnx
import onnxruntime as ort
import torch

from swin_unet import WindowAttention, load_weights

OPSET = 20                     # the newest that the tracing exporter writes
MAX_DIFFERENCE = 2e-3          # logits, of the order of 10; float32 sums in another order


def load_checkpoint(path):
    """EMA weights of a train.py file, in float32."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if "config" not in saved or "ema" not in saved:
        sys.exit(f"{path} has no config and ema; it is not a file train.py wrote.")
    return load_weights(saved["config"]["model"], {k: v.float() for k, v in saved["ema"].items()}).eval(), saved


def count_macs(model):
    """Multiply-accumulates of one window: linears, convolutions, and the two products inside attention."""
    total = 0

    def linear(m, inputs, output):
        nonlocal total
        total += output.numel() * m.in_features

    def conv(m, inputs, output):
        nonlocal total
        total += output.numel() * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]

    def attention(m, inputs, output):
        nonlocal total
        B, T, _ = inputs[0].shape
        total += 2 * B * T * T * m.inner

    hooks = [m.register_forward_hook({torch.nn.Linear: linear, torch.nn.Conv2d: conv, WindowAttention: attention}[type(m)])
             for m in model.modules() if type(m) in (torch.nn.Linear, torch.nn.Conv2d, WindowAttention)]
    with torch.inference_mode():
        model(torch.zeros(1, model.cfg.in_channels, model.cfg.image_size, model.cfg.image_size))
    for h in hooks:
        h.remove()
    return total


def offset_logits(model, offsets):
    """Add a constant per class to the logits, inside the classifier. It trades one class's errors for another's; choose it on val."""
    old = model.head.classify
    model.head.classify = torch.nn.Linear(old.in_features, old.out_features)
    with torch.no_grad():
        model.head.classify.weight.copy_(old.weight)
        model.head.classify.bias.copy_(torch.tensor(offsets, dtype=torch.float32))


def export(model, path, bands):
    S = model.cfg.image_size
    model.bands = bands
    example = torch.rand(2, model.cfg.in_channels, S, S)
    part = Path(str(path) + ".part")
    # the tracing exporter: linears stay MatMul + Add, and the graph has one node per line of the model
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*legacy TorchScript.*")
    torch.onnx.export(model, (example,), str(part), input_names=["pixels"], output_names=["logits"], opset_version=OPSET,
                      dynamo=False, do_constant_folding=False, dynamic_axes={"pixels": {0: "N"}, "logits": {0: "N"}})
    graph = onnx.load(part)
    share_equal_initializers(graph)
    fold_transposes(graph)
    regions_for_masks(graph, model)
    plain = [n.name for n in graph.graph.node if n.op_type == "Gemm"]
    if plain:
        sys.exit(f"{len(plain)} linears became Gemm ({plain[:3]}); 4-bit quantising needs MatMul.")
    onnx.checker.check_model(graph)
    onnx.save(graph, part)
    worst = compare(model, part)
    if worst > MAX_DIFFERENCE:
        part.unlink()
        sys.exit(f"torch and ONNX differ by {worst:.2e}, more than {MAX_DIFFERENCE:.0e}. Nothing was written.")
    os.replace(part, path)
    return worst


def share_equal_initializers(model):
    """Each Swin stage repeats its shift mask and index table in every block; store each once."""
    first, rename = {}, {}
    for t in list(model.graph.initializer):
        array = onnx.numpy_helper.to_array(t)
        if array.size < 64:
            continue
        key = (t.data_type, tuple(t.dims), array.tobytes())
        if key in first:
            rename[t.name] = first[key]
            model.graph.initializer.remove(t)
        else:
            first[key] = t.name
    # Constant nodes hold tensors too
    for n in list(model.graph.node):
        if n.op_type != "Constant" or not n.attribute[0].HasField("t"):
            continue
        array = onnx.numpy_helper.to_array(n.attribute[0].t)
        if array.size < 64:
            continue
        key = (n.attribute[0].t.data_type, tuple(array.shape), array.tobytes())
        if key in first:
            rename[n.output[0]] = first[key]
        else:
            t = onnx.numpy_helper.from_array(array, n.output[0])
            model.graph.initializer.append(t)
            first[key] = t.name
        model.graph.node.remove(n)
    # the exporter shares some itself, through Identity nodes that hide the weight from the quantizer
    names = {t.name for t in model.graph.initializer}
    for n in list(model.graph.node):
        if n.op_type == "Identity" and n.input[0] in names:
            rename[n.output[0]] = n.input[0]
            model.graph.node.remove(n)
    for n in model.graph.node:
        for i, name in enumerate(n.input):
            while name in rename:
                name = rename[name]
            n.input[i] = name


def fold_transposes(model):
    """Linears' weights are stored [out, in] and multiplied [in, out]: turn them here, under the parameter's own name.

    Nothing else is folded: bias tables and shift regions are far smaller than what a runtime makes of them when it loads.
    """
    weights = {t.name: t for t in model.graph.initializer}
    multiplied = {i for n in model.graph.node if n.op_type == "MatMul" for i in n.input}
    turned = {}
    for n in list(model.graph.node):
        if n.op_type == "Transpose" and n.input[0] in weights and n.output[0] in multiplied:
            turned[n.output[0]] = n.input[0]
            model.graph.node.remove(n)
    for name in set(turned.values()):
        weights[name].CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(onnx.numpy_helper.to_array(weights[name]).T), name))
    for n in model.graph.node:
        for i, name in enumerate(n.input):
            n.input[i] = turned.get(name, name)


def regions_for_masks(graph, model):
    """A shift mask says which pairs of tokens are of one region: store the regions, T times smaller, and let the runtime
    make the mask when it loads."""
    regions = {m.mask.numpy().tobytes(): m.region.numpy() for m in model.modules() if getattr(m, "mask", None) is not None}
    nodes = []
    for t in list(graph.graph.initializer):
        region = regions.get(onnx.numpy_helper.to_array(t).tobytes())
        if region is None:
            continue
        graph.graph.initializer.remove(t)
        graph.graph.initializer.extend([onnx.numpy_helper.from_array(region[:, None, None, :], t.name + "_keys"),
                                        onnx.numpy_helper.from_array(region[:, None, :, None], t.name + "_queries"),
                                        onnx.numpy_helper.from_array(np.float32(0), t.name + "_same"),
                                        onnx.numpy_helper.from_array(np.float32(-100), t.name + "_other")])
        nodes += [onnx.helper.make_node("Equal", [t.name + "_keys", t.name + "_queries"], [t.name + "_is_same"]),
                  onnx.helper.make_node("Where", [t.name + "_is_same", t.name + "_same", t.name + "_other"], [t.name])]
    for i, n in enumerate(nodes):
        graph.graph.node.insert(i, n)


def compare(model, path):
    """Largest logit difference, over batch sizes 1 and 3."""
    S = model.cfg.image_size
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for n in (1, 3):
        x = torch.rand(n, model.cfg.in_channels, S, S, generator=torch.Generator().manual_seed(n)) * 2 - 1
        with torch.inference_mode():
            want = model(x).numpy()
        got = session.run(["logits"], {"pixels": x.numpy()})[0]
        if got.shape != want.shape:
            sys.exit(f"ONNX gave {got.shape}, torch {want.shape}")
        worst = max(worst, float(np.abs(got - want).max()))
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--out", required=True)
    parser.add_argument("--bands", type=int, default=14)
    parser.add_argument("--offsets", type=float, nargs="+", help="added to the logits, one per class")
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, saved = load_checkpoint(args.checkpoint)
    if args.offsets:
        offset_logits(model, args.offsets)
    worst = export(model, args.out, args.bands)
    print(f"{args.out}: {Path(args.out).stat().st_size:,} bytes, {model.parameter_count():,} parameters, {count_macs(model):,} MACs, "
          f"step {saved['step']}, torch and ONNX differ by at most {worst:.1e}")
