import type { Size } from "../data/camera.ts";
import { createGlProgram, type GlProgram } from "./gl-program.ts";

/** Width of the texture that says which objects are shown. Groups begin in its first column. */
const STATES_WIDTH = 256;
const BYTES_PER_BOX = 16;

const COMMON = `
uniform vec2 viewport;
uniform vec2 offset;
uniform float scale;
uniform float thickness;
uniform highp usampler2D states;
// Place of the first drawn object in them.
uniform int first;
uniform vec4 colors[16];
flat out vec4 tint;
// Bit 7: shown. Bit 6: marked. Bits 0 to 3: class.
uint stateOf(int index) {
  int at = first + index;
  return texelFetch(states, ivec2(at % ${STATES_WIDTH}, at / ${STATES_WIDTH}), 0).r;
}
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

/** Outlines of a group on the graphics card. */
export interface OutlineGeometry {
  array: WebGLVertexArrayObject;
  buffer: WebGLBuffer;
  /** Segments. */
  count: number;
}

/** Boxes and states of neighbouring groups: one draw call shows any number of them. */
export interface ObjectBlock {
  array: WebGLVertexArrayObject;
  boxes: WebGLBuffer;
  states: WebGLTexture;
}

export interface MarkDraw {
  block: ObjectBlock;
  /** Place of the first object in the block, and number of objects. */
  first: number;
  count: number;
  /** Screen position of the block's origin. */
  x: number;
  y: number;
}

export interface OutlineDraw {
  geometry: OutlineGeometry;
  block: ObjectBlock;
  /** Place of the group in the block. */
  first: number;
  /** Screen position of the group's origin. */
  x: number;
  y: number;
}

/** How objects are drawn. */
export interface ObjectLook {
  screen: Size;
  scale: number;
  /** By class, 0 to 1, at most 16. */
  colors: readonly (readonly [number, number, number, number])[];
  /** Of lines, and least side of marks, in device pixels. */
  thickness: number;
}

/** Places that a group takes in its block: whole rows of the states. */
export function placesOf(objects: number): number {
  return Math.ceil(objects / STATES_WIDTH) * STATES_WIDTH;
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

  /** @param data `x0, y0, x1, y1, index in its group` of each segment */
  uploadSegments(data: Float32Array<ArrayBuffer>): OutlineGeometry {
    const gl = this.#gl;
    const array = this.#createArray();
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    for (const [attribute, size, offset] of [
      [1, 4, 0],
      [2, 1, 16],
    ] as const) {
      gl.enableVertexAttribArray(attribute);
      gl.vertexAttribPointer(attribute, size, gl.FLOAT, false, 20, offset);
      gl.vertexAttribDivisor(attribute, 1);
    }
    gl.bindVertexArray(null);
    return { array, buffer, count: data.length / 5 };
  }

  /** @param places of its groups together, see `placesOf`; none has an object yet */
  createBlock(places: number): ObjectBlock {
    const gl = this.#gl;
    const array = this.#createArray();
    const boxes = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, boxes);
    gl.bufferData(gl.ARRAY_BUFFER, places * BYTES_PER_BOX, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribDivisor(1, 1);
    gl.bindVertexArray(null);
    const states = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, states);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R8UI, STATES_WIDTH, places / STATES_WIDTH);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    return { array, boxes, states };
  }

  /** @param first place of a group @param boxes `x0, y0, x1, y1` of its objects, relative to the block's origin */
  setBoxes({ boxes: buffer }: ObjectBlock, first: number, boxes: Float32Array<ArrayBuffer>): void {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, first * BYTES_PER_BOX, boxes);
  }

  /** @param first place of a group @param states of its objects: see the shader */
  setStates(block: ObjectBlock, first: number, states: Uint8Array): void {
    const gl = this.#gl;
    const padded = new Uint8Array(placesOf(states.length));
    padded.set(states);
    const [row, rows] = [first / STATES_WIDTH, padded.length / STATES_WIDTH];
    gl.bindTexture(gl.TEXTURE_2D, block.states);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const { TEXTURE_2D, RED_INTEGER, UNSIGNED_BYTE } = gl;
    gl.texSubImage2D(TEXTURE_2D, 0, 0, row, STATES_WIDTH, rows, RED_INTEGER, UNSIGNED_BYTE, padded);
  }

  removeOutlines({ array, buffer }: OutlineGeometry): void {
    this.#gl.deleteVertexArray(array);
    this.#gl.deleteBuffer(buffer);
  }

  removeBlock({ array, boxes, states }: ObjectBlock): void {
    this.#gl.deleteVertexArray(array);
    this.#gl.deleteBuffer(boxes);
    this.#gl.deleteTexture(states);
  }

  drawMarks(draws: readonly MarkDraw[], look: ObjectLook): void {
    if (draws.length === 0) return;
    const gl = this.#gl;
    const { offset, first: firstPlace } = this.#begin(this.#boxes, look);
    let bound: ObjectBlock | undefined;
    for (const { block, first, count, x, y } of draws) {
      if (block !== bound) {
        gl.bindTexture(gl.TEXTURE_2D, block.states);
        gl.bindVertexArray(block.array);
        gl.bindBuffer(gl.ARRAY_BUFFER, block.boxes);
        gl.uniform2f(offset, x, y);
        bound = block;
      }
      gl.vertexAttribPointer(1, 4, gl.FLOAT, false, BYTES_PER_BOX, first * BYTES_PER_BOX);
      gl.uniform1i(firstPlace, first);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    }
  }

  drawOutlines(draws: readonly OutlineDraw[], look: ObjectLook): void {
    if (draws.length === 0) return;
    const gl = this.#gl;
    const { offset, first: firstPlace } = this.#begin(this.#segments, look);
    for (const { geometry, block, first, x, y } of draws) {
      gl.bindTexture(gl.TEXTURE_2D, block.states);
      gl.bindVertexArray(geometry.array);
      gl.uniform2f(offset, x, y);
      gl.uniform1i(firstPlace, first);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, geometry.count);
    }
  }

  #begin({ program, uniform }: GlProgram, { screen, scale, colors, thickness }: ObjectLook) {
    const gl = this.#gl;
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
    return { offset: uniform("offset"), first: uniform("first") };
  }

  /** Of instances of the unit square. It is bound. */
  #createArray(): WebGLVertexArrayObject {
    const gl = this.#gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#corners);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    return array;
  }
}
