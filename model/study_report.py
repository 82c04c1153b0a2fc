"""Renders STUDY.md from study.json: the tables, and a verdict on each claim. The verdicts follow from the numbers by the rules below."""
from __future__ import annotations

import statistics

HEADINGS = {"dice": "Dice", "iou": "IoU", "aji": "AJI", "f1At50": "F1@0.5", "hd95": "HD95"}


EVERYWHERE = ("one-bit-fixed", "one-bit-flexible", "one-bit-kmeans", "one-bit-better")
IN_ATTENTION = ("attention-fixed", "attention-flexible", "attention-kmeans", "attention-better")


def render(content):
    budget, rows = content["budget"], content["rows"]
    of = lambda kind: [r for r in rows if r["kind"] == kind]
    parts = [intro(content)]
    if of("architecture"):
        parts += ["## Architectures", architecture_table(of("architecture")), architecture_note(rows)]
    if of("compression"):
        parts += ["## Compression", compression_note(budget), compression_table(of("compression"))]
    if of("plain"):
        parts += ["## A plain Swin-Unet, compressed", plain_note(rows, budget), compression_table(of("plain"))]
    if of("shipped"):
        parts += ["## Shipped networks, rounded without training", shipped_tables(of("shipped"))]
    parts += ["## Five claims", claims(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def intro(content):
    b = content["budget"]
    seeds = [*b["seeds"], *b.get("more_seeds", [])]
    reduced = ("This is the reduced budget of a machine without a GPU. It compares how far networks of this size get in few steps; long training may "
               "give another order. Differences smaller than the spread over seeds mean nothing.\n\n") if b["name"] == "cpu" else ""
    here, planned = len(content["rows"]), content["planned"]
    unfinished = f"**Not finished: {here} of {planned} rows are measured.**\n\n" if here < planned else ""
    return f"""# Study

{unfinished}`python model/study.py model/configs/study.toml --out runs/study --budget {b['name']} --jobs 2` writes this page; run it again to continue an interrupted study.
`study.json` holds every number below.

Task: {content['task']}. Training uses the train split; scores are of the val split, on whole volumes at their own resolution. Budget "{b['name']}":
architectures of width {b['width']} train for {b['steps']:,} steps of {b['batch']} crops from scratch, compressed networks for {b['recover_steps']:,} steps of fine-tuning. Learning rate
{b['learning_rate']:g}; seeds {', '.join(map(str, b['seeds']))}{', and ' + ', '.join(map(str, b['more_seeds'])) + ' in rows with a ±' if b.get('more_seeds') else ''}. Every row runs on one thread. torch {content['torch']}.

{reduced}Dice, IoU and HD95 (mm) are means over volumes of both structures. ± is the standard deviation over {len(seeds)} seeds. Bytes are
the size of the written file: codes in as few bits as they need, scales and everything else in float16, bitmaps for zeros; fp32 rows in float32. "zlib" is the same file after
zlib at level 9. "Ratio" compares with the fp32 network that the row started from.""".strip()


def table(headings, lines):
    return "\n".join(["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings), *("| " + " | ".join(line) + " |" for line in lines)])


def grouped(rows):
    """Rows of several seeds as one: means, and the spread of the Dice."""
    names = {}
    for r in rows:
        names.setdefault(r["name"], []).append(r)
    out = []
    for name, same in names.items():
        first = dict(same[0])
        for key in HEADINGS:
            values = [r[key] for r in same if r.get(key) is not None]
            first[key] = statistics.mean(values) if values else None
        first["spread"] = statistics.stdev([r["dice"] for r in same]) if len(same) > 1 else None
        first["seedDice"] = {r["seed"]: r["dice"] for r in same}
        out.append(first)
    return out


def cells(r, keys):
    found = []
    for key in keys:
        value = r.get(key)
        if value is None:
            found.append("–")
        elif key == "dice":
            found.append(f"{value:.4f}" + (f" ± {r['spread']:.4f}" if r.get("spread") is not None else ""))
        else:
            lost = r.get(f"{key}Infinite")
            found.append((f"{value:.2f}" if key == "hd95" else f"{value:.4f}") + (f" ({lost} empty)" if lost else ""))
    return found


def size(n):
    return f"{n / 1e6:.2f} MB" if n >= 1e6 else f"{n / 1e3:.0f} kB"


def architecture_table(rows):
    rows = sorted(grouped(rows), key=lambda r: -r["dice"])
    return table(["network", "Dice", "IoU", "HD95", "parameters", "MMACs", "fp32", "minutes"],
                 [[r["label"], *cells(r, ("dice", "iou", "hd95")), f"{r['parameters'] / 1e6:.2f} M", f"{r['macs'] / 1e6:.0f}", size(r["bytes"]),
                   f"{r['seconds'] / 60:.1f}"] for r in rows])


def architecture_note(rows):
    """How not to read the table."""
    arch = grouped([r for r in rows if r["kind"] == "architecture"])
    convolutional = [r for r in arch if r["name"] in ("unet", "attention-unet", "transunet")]
    windowed = [r for r in arch if r not in convolutional and not r["name"].endswith("-longer")]
    shipped = [r for r in rows if r["kind"] == "compression" and r["name"] == "fp32"]
    if not convolutional or not windowed or not shipped:
        return ""
    worst, best = min(r["dice"] for r in convolutional), max(r["dice"] for r in windowed)
    if worst <= best:
        return ""
    return (f"Networks with convolutions at full resolution learn this task within the budget (Dice {worst:.3f} or more). Networks of attention windows do not (at most {best:.3f}): "
            f"they need many more steps, after which the shipped network, of width 48, reaches {shipped[0]['dice']:.3f}. The table therefore shows how fast networks learn. For a task and "
            "data set of this size it shows no advantage of attention over a plain U-Net. The compression results below were not measured on a U-Net.")


def compression_note(budget):
    return (f"All rows start from the weights of the first row, the shipped width-48 network before compression. Rows with training got {budget['recover_steps']:,} more steps. The row "
            "“fp32, trained on” shows the effect of these steps alone: compare rows with training with it, and rows without training with the first row.")


def plain_note(rows, budget):
    start = next((r for r in rows if r["name"] == "plain-fp32"), None)
    trained = f"{start['trainedSteps']:,}" if start else "many"
    return (f"The network of the paper has no convolutions but its patch embedding. All rows start from one such network of width {budget['width']}, trained from scratch for {trained} "
            f"steps, and train for {budget['recover_steps']:,} more. It is far from fully trained, so compare the rows with each other.")


def compression_table(rows):
    lines = []
    for r in grouped(rows):
        lines.append([r["label"], *cells(r, ("dice", "iou", "hd95")), f"{r['bitsPerWeight']:.2f}", f"{100 * r['sparsity']:.0f} %", size(r["bytes"]),
                      size(r["compressedBytes"]), f"{r['ratio']:.1f}"])
    return table(["compression", "Dice", "IoU", "HD95", "bits a weight", "zeros", "bytes", "zlib", "ratio"], lines)


def shipped_tables(rows):
    parts = []
    for prefix in sorted({r["name"].split("--")[0] for r in rows}):
        mine = [r for r in rows if r["name"].startswith(f"{prefix}--")]
        keys = [k for k in HEADINGS if any(r.get(k) is not None for r in mine)]
        parts.append(f"### {prefix}\n\n" + table(["compression", *(HEADINGS[k] for k in keys), "bits a weight", "bytes", "zlib", "ratio"], [
            [r["label"], *cells(r, keys), f"{r['bitsPerWeight']:.2f}", size(r["bytes"]), size(r["compressedBytes"]), f"{r['ratio']:.1f}"] for r in mine]))
    return "\n\n".join(parts)


def claims(rows):
    arch = {r["name"]: r for r in grouped([r for r in rows if r["kind"] == "architecture"])}
    comp = {r["name"]: r for r in grouped([r for r in rows if r["kind"] == "compression"])}
    plain = {r["name"].removeprefix("plain-"): r for r in grouped([r for r in rows if r["kind"] == "plain"])}
    return "\n".join(f"{i}. **{title}** {verdict}" for i, (title, verdict) in enumerate((
        ("4 bits keep the quality at more than a fifth of the size.", four_bits(comp)),
        ("Pruning alone is weaker.", pruning(comp)),
        ("1 bit everywhere collapses.", one_bit(comp, plain, EVERYWHERE, "everywhere")),
        ("1 bit in attention alone holds.", one_bit(comp, plain, IN_ATTENTION, "attention")),
        ("Patch expanding beats bilinear and transposed up-sampling.", upsampling(arch))), 1))


def four_bits(comp):
    if not {"qat-row", "fp32-more", "rtn-32", "fp32"} <= set(comp):
        return "Not measured yet."
    q, ref, plain, base = (comp[n] for n in ("qat-row", "fp32-more", "rtn-32", "fp32"))
    kept, kept_plain = q["dice"] / ref["dice"], plain["dice"] / base["dice"]
    word = "Confirmed" if kept >= 0.98 and q["ratio"] > 5 else "Refuted"
    return (f"{word}: fine-tuned with a scale per row, the network keeps {100 * kept:.1f} % of fp32's Dice and is {q['ratio']:.1f} times smaller; rounded in blocks of 32 without "
            f"training, it keeps {100 * kept_plain:.1f} % and is {plain['ratio']:.1f} times smaller.")


def pruning(comp):
    names = [n for n in ("prune-50-blind", "prune-50-uniform", "prune-80-blind") if n in comp]
    if not names or not {"fp32-more", "qat-row"} <= set(comp):
        return "Not measured yet."
    ref, q = comp["fp32-more"], comp["qat-row"]
    said = "; ".join(f"{comp[n]['label']}: {100 * comp[n]['dice'] / ref['dice']:.1f} % of fp32's Dice, {comp[n]['ratio']:.1f} times smaller" for n in names)
    best = max((comp[n] for n in names), key=lambda r: r["ratio"])
    word = "Confirmed" if all(comp[n]["ratio"] < q["ratio"] for n in names) else "Confirmed" if best["dice"] < q["dice"] else "Refuted"
    return f"{word}: {said}. 4 bits keep {100 * q['dice'] / ref['dice']:.1f} % and are {q['ratio']:.1f} times smaller."


def one_bit(comp, plain, names, where):
    """The verdict on the shipped network, and then the one on the plain Swin-Unet, by the same thresholds."""
    verdict = one_bit_verdict(comp, names, where)
    if verdict is None:
        return "Not measured yet."
    if where == "everywhere":
        verdict += " The convolutions of its stem, detail path and positions stay in float32."
    other = one_bit_verdict(plain, names, where)
    if other is None:
        return verdict + " Not measured on a plain Swin-Unet without convolutions."
    return f"{verdict} On a plain Swin-Unet without convolutions: {other[0].lower()}{other[1:]}"


def one_bit_verdict(rows, names, where):
    names = [n for n in names if n in rows]
    if not names or "fp32-more" not in rows:
        return None
    share = {n: rows[n]["dice"] / rows["fp32-more"]["dice"] for n in names}
    said = "; ".join(f"{rows[n]['label'].split(', ', 1)[1]} {100 * share[n]:.1f} %" for n in names)
    ruled = [share[n] for n in names if not n.endswith("better")]
    if where == "everywhere":
        word = "Confirmed" if max(ruled) < 0.6 else "Refuted" if min(ruled) > 0.9 else "In part"
    else:
        word = "Confirmed" if min(ruled) >= 0.85 else "Refuted" if max(ruled) < 0.85 else "In part"
    return f"{word}, by the thresholds of the paper: {said} of fp32's Dice."


def upsampling(arch):
    ways = ("expand", "bilinear", "transposed", "overlapped")
    # Longer training decides where all three ways have it.
    longer = {n: arch[f"{n}-longer"] for n in ways if f"{n}-longer" in arch}
    arch = longer if len(longer) >= 3 else arch
    names = [n for n in ways if n in arch]
    if len(names) < 3 or "expand" not in names:
        return "Not measured yet."
    ours, others = arch["expand"], [arch[n] for n in names if n != "expand"]
    noise = max((arch[n]["spread"] or 0 for n in names), default=0)
    if "transposed" in names and ours["spread"] is None:   # one seed: the two are the same function and differ by the random start alone
        noise = max(noise, abs(ours["dice"] - arch["transposed"]["dice"]))
    said = ", ".join(f"{n} {arch[n]['dice']:.4f}" + (f" ± {arch[n]['spread']:.4f}" if arch[n]["spread"] else "") for n in names)
    gap = ours["dice"] - max(r["dice"] for r in others)
    word = "Confirmed" if gap > noise else "Refuted" if gap < -noise else "Not decided"
    tail = "" if word == "Confirmed" else " The differences are within the effect of the random start." if word == "Not decided" else " Another way is better."
    return (f"{word}: {said}.{tail} A transposed convolution whose kernel equals its stride is the same function as patch expanding (tested); only its random "
            "initialization differs.")
