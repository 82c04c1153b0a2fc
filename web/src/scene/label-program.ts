import type { Bounds } from "../data/camera.ts";
import { createGlProgram, type GlProgram, TILE_VERTEX } from "./gl-program.ts";
import { rgbFractions } from "./image-program.ts";

export interface LabelLook {
  /** 0 hides the layer, 1 covers the image. */
  opacity: number;
  style: "fill" | "outline";
  /** By class index. */
  classes: readonly { color: string; visible: boolean }[];
}

/** Labels of a tile with a border of one sample on each side, which outlines across tiles need. */
export interface LabelTileData {
  /** Including the border. */
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer>;
}

export interface LabelTexture {
  texture: WebGLTexture;
}

const FRAGMENT = `
precision highp usampler2D;
uniform usampler2D labels;
uniform sampler2D palette;
uniform float opacity;
uniform bool outline;
in vec2 texel;
out vec4 color;
uint at(ivec2 p) { return texelFetch(labels, p, 0).r; }
void main() {
  ivec2 p = ivec2(floor(texel)) + 1;
  uint v = at(p);
  vec4 c = texelFetch(palette, ivec2(int(v), 0), 0);
  if (c.a == 0.0) discard;
  if (outline) {
    bool inside = at(p + ivec2(1, 0)) == v && at(p - ivec2(1, 0)) == v
      && at(p + ivec2(0, 1)) == v && at(p - ivec2(0, 1)) == v;
    if (inside) discard;
  }
  color = vec4(c.rgb * opacity, opacity);
}`;

/** Draws label maps without any interpolation: each device pixel has the colour of exactly one label. */
export class LabelProgram {
  readonly #gl: WebGL2RenderingContext;
  readonly #program: GlProgram;
  readonly #palette: WebGLTexture;
  /** What the palette holds. */
  #classes: LabelLook["classes"] | undefined;

  constructor(gl: WebGL2RenderingContext) {
    this.#gl = gl;
    this.#program = createGlProgram(gl, TILE_VERTEX, FRAGMENT);
    this.#palette = gl.createTexture();
  }

  upload({ width, height, data }: LabelTileData): LabelTexture {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_BYTE, data);
    setNearest(gl);
    return { texture };
  }

  begin(viewport: readonly [number, number], look: LabelLook): void {
    const gl = this.#gl;
    const { program, uniform } = this.#program;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniform2f(uniform("viewport"), ...viewport);
    gl.uniform1i(uniform("labels"), 0);
    gl.uniform1i(uniform("palette"), 1);
    gl.uniform1f(uniform("opacity"), look.opacity);
    gl.uniform1i(uniform("outline"), look.style === "outline" ? 1 : 0);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.#palette);
    if (look.classes !== this.#classes) this.#uploadPalette(look.classes);
    gl.activeTexture(gl.TEXTURE0);
  }

  /** Into the bound texture. */
  #uploadPalette(classes: LabelLook["classes"]): void {
    const gl = this.#gl;
    const colors = new Uint8Array(256 * 4);
    classes.forEach(({ color, visible }, i) => {
      if (i === 0 || i > 255) return;
      const rgb = rgbFractions(color).map((v) => Math.round(v * 255));
      colors.set([...rgb, visible ? 255 : 0], i * 4);
    });
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colors);
    setNearest(gl);
    this.#classes = classes;
  }

  /** @param texels edges of the drawn part, without the border */
  draw({ texture }: LabelTexture, rect: Bounds, texels: Bounds): void {
    const gl = this.#gl;
    const { uniform } = this.#program;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.uniform4f(uniform("rect"), rect.x0, rect.y0, rect.x1, rect.y1);
    gl.uniform4f(uniform("texels"), texels.x0, texels.y0, texels.x1, texels.y1);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

function setNearest(gl: WebGL2RenderingContext): void {
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}
