#!/usr/bin/env bash
# nuclei on one GPU in under ten minutes: the shipped shape and one of width 96, each trained, quantised, packaged and scored.
#
#   python model/pack_pictures.py --sets dsb2018 tnbc nuinsseg negatives --out pictures.zip      before, where the sets are: 26 MB
#   bash model/train_on_gpu.sh pictures.zip OUT
#
# The GPU machine needs PyTorch, the Python packages of model/pyproject.toml, the pictures, and of this repository model/ with
# checkpoints/nuclei-he-c48.pt: 36 MB. OUT is 64 MB at most, in files of up to 15 MB: cat NAME.tar.* | tar -x.
# Scores are of JPEG pictures here. Score the packages on the sets themselves before shipping one, and run bench/gpu.ts with the wide one.
# For a trial on a CPU: BATCH=2 WORKERS=1 EDGE="0.05 2 4" WIDE="0.05 2 4" LIMIT=1
set -euo pipefail
pictures=$(realpath "$1") out=$(realpath -m "$2")
cd "$(dirname "$0")"
work=${WORK:-$(mktemp -d)}
python=${PYTHON:-python3}
# Minutes of training before the decay, steps of the decay, steps on 4-bit weights; for the shipped shape and for width 96.
edge=(${EDGE:-1.5 500 1200}) wide=(${WIDE:-1.5 500 500})
batch=${BATCH:-64} workers=${WORKERS:-$(($(nproc) / 2 - 1))}
mkdir -p "$out" "$work"
started=$SECONDS
trap 'cat "$work"/*.txt >>"$out/log.txt"' EXIT
say() { echo "[$((SECONDS - started)) s] $*" | tee -a "$out/log.txt"; }

learn() { # name, config, where it starts or "", minutes, decay steps, 4-bit steps, further options of prune_and_quantize.py
  local name=$1 config=$2 start=$3 minutes=$4 decay=$5 steps=$6 keep=()
  shift 6
  say "$name: training"
  "$python" train.py "$config" --out "$work/$name" --data "$pictures" --batch "$batch" --workers "$workers" \
    --decay-at "$minutes" --decay-steps "$decay" ${start:+--from-checkpoint "$start"} >"$work/$name.txt" 2>&1
  say "$name: $(grep -a ': val' "$work/$name.txt" | tail -1)"
  "$python" shrink_checkpoint.py "$work/$name/last.pt" --out "$work/$name-c48.pt" >>"$work/$name.txt" 2>&1
  "$python" prune_and_quantize.py "$work/$name-c48.pt" --out "$work/$name-int4" --data "$pictures" --batch "$batch" --workers "$workers" \
    --steps "$steps" --validate-every "$((steps / 4 + 1))" --distill 0 --plain 0.7 --learning-rate 1e-3 "$@" >>"$work/$name.txt" 2>&1
  say "$name: 4 bits: $(grep -a ': val' "$work/$name.txt" | tail -1)"
  "$python" package.py "$work/$name-int4/end.pt" --parent "$work/$name-c48.pt" --out "$work/$name-package" --no-score >>"$work/$name.txt" 2>&1
  # what training can go on from; of the wide one it would be too large
  [ -z "$start" ] || keep=("$name-c48.pt" "$name-int4/end.pt")
  tar -c -C "$work" "$name/validation.csv" "$name-package" "${keep[@]}" | split -b 15m - "$out/$name.tar."
  say "$name: packaged"
}

# Both at once: drawing crops takes the cores, training the GPU, and neither fills its own.
sed 's/^width = 48/width = 96/; s/^heads = .*/heads = [6, 12, 24, 48]/; /^hidden = /d; /^kept_heads = /d; s/^detail_width = .*/detail_width = 32/' \
  configs/nuclei_he.toml >"$work/wide.toml"
learn nuclei-wide "$work/wide.toml" "" "${wide[@]}" --mlp 0 --heads 0 &
other=$!
learn nuclei-he configs/nuclei_he.toml checkpoints/nuclei-he-c48.pt "${edge[@]}" --mlp 0.25 --heads 0.2 --rounds 1
wait "$other"
"$python" evaluate.py "$work/nuclei-he-package" "$work/nuclei-wide-package" --task nuclei --data "$pictures" \
  --sets dsb2018 tnbc nuinsseg ${LIMIT:+--limit "$LIMIT"} | tee "$out/scores.txt"
say "done"
