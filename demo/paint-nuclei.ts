/** A seeded picture of synthetic nuclei: the same on every machine. */
export interface NucleiField {
  width: number;
  height: number;
  /** RGB, `[height, width, 3]`. */
  rgb: Uint8Array;
  nuclei: number;
}

interface Nucleus {
  x: number;
  y: number;
  a: number;
  b: number;
  angle: number;
  brightness: number;
}

/** Bright, textured ellipses of 7 to 12 µm on a dark, unevenly lit background, some touching, like under DAPI. */
export function paintNuclei(width: number, height: number, mpp: number, seed = 7): NucleiField {
  const random = mulberry32(seed);
  const nuclei: Nucleus[] = [];
  const wanted = Math.round((width * height * mpp * mpp) / 420);
  for (let tries = 0; nuclei.length < wanted && tries < wanted * 40; tries++) {
    const a = (3.5 + 2.5 * random()) / mpp;
    const next = {
      x: random() * width,
      y: random() * height,
      a,
      b: a * (0.65 + 0.3 * random()),
      angle: random() * Math.PI,
      brightness: 90 + 120 * random(),
    };
    // Nuclei may touch but not overlap.
    const free = nuclei.every((n) => Math.hypot(n.x - next.x, n.y - next.y) > 0.98 * (n.b + next.b));
    if (free) nuclei.push(next);
  }
  const light = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      light[y * width + x] = 6 + 5 * Math.sin((x / width) * 2.1 + (y / height) * 1.3) + 4 * random();
    }
  }
  for (const n of nuclei) {
    const [cos, sin] = [Math.cos(n.angle), Math.sin(n.angle)];
    const reach = Math.ceil(n.a * 1.4);
    for (let y = Math.max(0, Math.floor(n.y - reach)); y < Math.min(height, n.y + reach); y++) {
      for (let x = Math.max(0, Math.floor(n.x - reach)); x < Math.min(width, n.x + reach); x++) {
        const u = ((x - n.x) * cos + (y - n.y) * sin) / n.a;
        const v = ((y - n.y) * cos - (x - n.x) * sin) / n.b;
        const r = Math.sqrt(u * u + v * v);
        const edge = 1 / (1 + Math.exp((r - 1) * n.a * 0.9));
        const texture = 1 + 0.12 * Math.sin(x * 0.55 + n.x) * Math.sin(y * 0.47 + n.y);
        light[y * width + x]! += n.brightness * edge * texture;
      }
    }
  }
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < light.length; i++) rgb.fill(Math.min(255, light[i]!), i * 3, i * 3 + 3);
  return { width, height, rgb, nuclei: nuclei.length };
}

/** Tommy Ettinger's mulberry32: 32 bits of state, enough for a picture. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
