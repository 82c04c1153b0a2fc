/** A WebGL program with the locations of its uniforms. */
export interface GlProgram {
  program: WebGLProgram;
  /** Throws for a name that the program does not use. */
  uniform(name: string): WebGLUniformLocation;
}

export function createGlProgram(gl: WebGL2RenderingContext, vertex: string, fragment: string): GlProgram {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, `#version 300 es\nprecision highp float;\nprecision highp int;\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
      throw new Error(`a shader does not compile: ${gl.getShaderInfoLog(shader)}`);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
    throw new Error(`a shader program does not link: ${gl.getProgramInfoLog(program)}`);
  const known = new Map<string, WebGLUniformLocation>();
  return {
    program,
    uniform(name) {
      let location = known.get(name);
      if (location === undefined) {
        const found = gl.getUniformLocation(program, name);
        if (found === null) throw new Error(`the shader has no uniform ${name}`);
        location = found;
        known.set(name, location);
      }
      return location;
    },
  };
}

/** The corners of the unit square, as a triangle strip at attribute 0. */
export function createUnitSquare(gl: WebGL2RenderingContext): WebGLVertexArrayObject {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
  gl.bindVertexArray(null);
  return array;
}

/**
 * Vertices of a tile: `rect` holds its edges in device pixels, `texels` the same edges in texels. Edges are mixed, not
 * summed, so that neighbours share them exactly.
 */
export const TILE_VERTEX = `
layout(location = 0) in vec2 corner;
uniform vec4 rect;
uniform vec4 texels;
uniform vec2 viewport;
out vec2 texel;
void main() {
  vec2 at = mix(rect.xy, rect.zw, corner);
  texel = mix(texels.xy, texels.zw, corner);
  gl_Position = vec4(at / viewport * vec2(2.0, -2.0) + vec2(-1.0, 1.0), 0.0, 1.0);
}`;
