import type { Size } from "../data/camera.ts";
import { createGlProgram, type GlProgram } from "./gl-program.ts";

/** Width of the texture that says which objects of a group are shown. */
const SHOWN_WIDTH = 256;

const COMMON = `
uniform vec2 viewport;
uniform vec2 offset;
uniform float scale;
uniform float thickness;
uniform highp usampler2D states;
uniform vec4 colors[16];
flat out vec4 tint;
// Bit 7: shown. Bit 6: marked. Bits 0 to 3: class.
uint stateOf(int index) { return texelFetch(states, ivec2(index % ${SHOWN_WIDTH}, index / ${SHOWN_WIDTH}), 0).r; }
vec4 toClip(vec2 at) { return vec4(at / viewport * vec2(2.0, -2.0) + vec2(-1.0, 1.0), 0.0, 1.0); }
const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);
`;

/** A segment becomes a rectangle along it. */
const SEGMENT_VERTEX = `${COMMON}
layout(location = 0) in vec2 corner;
layout(location = 1) in vec4 ends;
layout(location = 2) in float index;
void main() {
  uint state = stateOf(int(index));
  bool marked = (state & 64u) != 0u;
  tint = marked ? vec4(1.0, 1.0, 1.0, 1.0) : colors[int(state & 15u)];
  if ((state & 128u) == 0u) { gl_Position = NOWHERE; return; }
  vec2 a = offset + ends.xy * scale;
  vec2 b = offset + ends.zw * scale;
  vec2 along = b - a;
  float size = max(length(along), 1e-6);
  vec2 unit = along / size;
  float half_ = thickness * (marked ? 1.0 : 0.5);
  vec2 at = mix(a - unit * half_, b + unit * half_, corner.x) + vec2(-unit.y, unit.x) * half_ * (corner.y * 2.0 - 1.0);
  gl_Position = toClip(at);
}`;

/** A box, never smaller than \`thickness\`. */
const BOX_VERTEX = `${COMMON}
layout(location = 0) in vec2 corner;
layout(location = 1) in vec4 box;
void main() {
  uint state = stateOf(gl_InstanceID);
  tint = (state & 64u) != 0u ? vec4(1.0, 1.0, 1.0, 1.0) : colors[int(state & 15u)];
  if ((state & 128u) == 0u) { gl_Position = NOWHERE; return; }
  vec2 middle = offset + (box.xy + box.zw) * 0.5 * scale;
  vec2 size = max((box.zw - box.xy) * scale, vec2(thickness));
  gl_Position = toClip(middle + (corner - 0.5) * size);
}`;

const FRAGMENT = `
flat in vec4 tint;
out vec4 color;
void main() { color = vec4(tint.rgb * tint.a, tint.a); }`;

/** Buffers of a group on the graphics card. */
export interface ObjectGeometry {
  array: WebGLVertexArrayObject;
  buffer: WebGLBuffer;
  /** Segments or boxes. */
  count: number;
}

export interface ObjectDraw {
  geometry: ObjectGeometry;
  states: WebGLTexture;
  /** Screen position of the group's origin. */
  x: number;
  y: number;
}

/** Draws outlines of objects, or a mark for each object when they are too small to have one. */
export class ObjectProgram {
  readonly #gl: WebGL2RenderingContext;
  readonly #segments: GlProgram;
  readonly #boxes: GlProgram;
  readonly #corners: WebGLBuffer;

  constructor(gl: WebGL2RenderingContext) {
    this.#gl = gl;
    this.#segments = createGlProgram(gl, SEGMENT_VERTEX, FRAGMENT);
    this.#boxes = createGlProgram(gl, BOX_VERTEX, FRAGMENT);
    this.#corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
  }

  /** @param data `x0, y0, x1, y1, index` of each segment */
  uploadSegments(data: Float32Array<ArrayBuffer>): ObjectGeometry {
    return this.#upload(data, 5);
  }

  /** @param data `x0, y0, x1, y1` of each object */
  uploadBoxes(data: Float32Array<ArrayBuffer>): ObjectGeometry {
    return this.#upload(data, 4);
  }

  /** @param states of each object: see the shader */
  uploadStates(states: Uint8Array, into: WebGLTexture = this.#gl.createTexture()): WebGLTexture {
    const gl = this.#gl;
    const height = Math.max(1, Math.ceil(states.length / SHOWN_WIDTH));
    const padded = new Uint8Array(SHOWN_WIDTH * height);
    padded.set(states);
    gl.bindTexture(gl.TEXTURE_2D, into);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(
      gl.TEXTURE_2D,
      0,
      gl.R8UI,
      SHOWN_WIDTH,
      height,
      0,
      gl.RED_INTEGER,
      gl.UNSIGNED_BYTE,
      padded,
    );
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    return into;
  }

  remove({ array, buffer }: ObjectGeometry): void {
    this.#gl.deleteVertexArray(array);
    this.#gl.deleteBuffer(buffer);
  }

  /**
   * @param colors by class, 0 to 1, at most 16 @param thickness of lines, and least side of marks, in device pixels
   */
  draw(
    kind: "segments" | "boxes",
    draws: readonly ObjectDraw[],
    screen: Size,
    scale: number,
    colors: readonly (readonly [number, number, number, number])[],
    thickness: number,
  ): void {
    if (draws.length === 0) return;
    const gl = this.#gl;
    const { program, uniform } = kind === "segments" ? this.#segments : this.#boxes;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniform2f(uniform("viewport"), screen.width, screen.height);
    gl.uniform1f(uniform("scale"), scale);
    gl.uniform1f(uniform("thickness"), thickness);
    gl.uniform1i(uniform("states"), 0);
    const flat = new Float32Array(64);
    flat.set(colors.slice(0, 16).flat());
    gl.uniform4fv(uniform("colors"), flat);
    gl.activeTexture(gl.TEXTURE0);
    const offset = uniform("offset");
    for (const { geometry, states, x, y } of draws) {
      gl.bindTexture(gl.TEXTURE_2D, states);
      gl.bindVertexArray(geometry.array);
      gl.uniform2f(offset, x, y);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, geometry.count);
    }
  }

  #upload(data: Float32Array<ArrayBuffer>, stride: number): ObjectGeometry {
    const gl = this.#gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.FLOAT, false, 4 * stride, 0);
    gl.vertexAttribDivisor(1, 1);
    if (stride === 5) {
      gl.enableVertexAttribArray(2);
      gl.vertexAttribPointer(2, 1, gl.FLOAT, false, 4 * stride, 16);
      gl.vertexAttribDivisor(2, 1);
    }
    gl.bindVertexArray(null);
    return { array, buffer, count: data.length / stride };
  }
}
