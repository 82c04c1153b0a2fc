import type { Bounds } from "../data/camera.ts";
import { createGlProgram, type GlProgram, TILE_VERTEX } from "./gl-program.ts";

/** Most channels that are shown at a time. */
export const MAX_SHOWN_CHANNELS = 8;

/** How a channel is drawn; `low` and `high` in stored samples scaled to 0 to 1. */
export interface ChannelLook {
  visible: boolean;
  /** `#rrggbb` */
  color: string;
  low: number;
  high: number;
}

/** Samples of a tile, channel by channel: bytes, or half-precision floats of 0 to 1. */
export interface ImageTileData {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;
}

export interface ImageTexture {
  texture: WebGLTexture;
  width: number;
  height: number;
}

/** Each visible channel adds its colour times its windowed intensity: red, green and blue give the colour itself. */
const FRAGMENT = `
precision highp sampler2DArray;
uniform sampler2DArray samples;
uniform vec2 size;
uniform int count;
uniform vec3 colors[${MAX_SHOWN_CHANNELS}];
uniform vec2 windows[${MAX_SHOWN_CHANNELS}];
in vec2 texel;
out vec4 color;
void main() {
  vec3 sum = vec3(0.0);
  for (int c = 0; c < ${MAX_SHOWN_CHANNELS}; c++) {
    if (c >= count) break;
    float v = texture(samples, vec3(texel / size, float(c))).r;
    sum += colors[c] * clamp((v - windows[c].x) * windows[c].y, 0.0, 1.0);
  }
  color = vec4(min(sum, 1.0), 1.0);
}`;

export class ImageProgram {
  readonly #gl: WebGL2RenderingContext;
  readonly #program: GlProgram;

  constructor(gl: WebGL2RenderingContext) {
    this.#gl = gl;
    this.#program = createGlProgram(gl, TILE_VERTEX, FRAGMENT);
  }

  upload({ width, height, channels, data }: ImageTileData): ImageTexture {
    const gl = this.#gl;
    const texture = gl.createTexture();
    const layers = Math.min(channels, MAX_SHOWN_CHANNELS);
    const isBytes = data instanceof Uint8Array;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage3D(
      gl.TEXTURE_2D_ARRAY,
      0,
      isBytes ? gl.R8 : gl.R16F,
      width,
      height,
      layers,
      0,
      gl.RED,
      isBytes ? gl.UNSIGNED_BYTE : gl.HALF_FLOAT,
      data,
    );
    gl.generateMipmap(gl.TEXTURE_2D_ARRAY);
    // Magnified samples stay squares: what a pixel holds can be seen.
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    return { texture, width, height };
  }

  begin(viewport: readonly [number, number], looks: readonly ChannelLook[]): void {
    const gl = this.#gl;
    const { program, uniform } = this.#program;
    gl.useProgram(program);
    gl.disable(gl.BLEND);
    gl.uniform2f(uniform("viewport"), ...viewport);
    gl.uniform1i(uniform("samples"), 0);
    const shown = looks.slice(0, MAX_SHOWN_CHANNELS);
    gl.uniform1i(uniform("count"), shown.length);
    const colors = shown.flatMap((look) => (look.visible ? rgbFractions(look.color) : [0, 0, 0]));
    const windows = shown.flatMap(({ low, high }) => [low, 1 / Math.max(high - low, 1e-6)]);
    gl.uniform3fv(uniform("colors"), new Float32Array(colors));
    gl.uniform2fv(uniform("windows"), new Float32Array(windows));
  }

  draw({ texture, width, height }: ImageTexture, rect: Bounds, texels: Bounds): void {
    const gl = this.#gl;
    const { uniform } = this.#program;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.uniform2f(uniform("size"), width, height);
    gl.uniform4f(uniform("rect"), rect.x0, rect.y0, rect.x1, rect.y1);
    gl.uniform4f(uniform("texels"), texels.x0, texels.y0, texels.x1, texels.y1);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

/** `#rrggbb` as numbers from 0 to 1. */
export function rgbFractions(color: string): [number, number, number] {
  const value = Number.parseInt(color.slice(1, 7), 16) || 0;
  return [((value >> 16) & 255) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}
