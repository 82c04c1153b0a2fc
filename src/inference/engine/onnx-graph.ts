import { PbfReader } from "pbf";
import { fromFloat16Bits } from "../../tiling/pixels/float16.ts";
import { PlanError } from "./plan-error.ts";
import { clampToInt32, elementCount, type Tensor } from "./tensor.ts";

// Numbers of fields and types: onnx.proto3 of https://github.com/onnx/onnx.

export type Attribute = number | string | number[] | Tensor;

export interface OnnxNode {
  /** Name of the operator, with its domain unless it is ONNX's own: "Conv", "com.microsoft.DynamicQuantizeMatMul". */
  operator: string;
  inputs: string[];
  outputs: string[];
  attributes: Map<string, Attribute>;
}

export interface OnnxGraph {
  nodes: OnnxNode[];
  initializers: Map<string, Tensor>;
  /** Without initializers. */
  inputs: string[];
  outputs: string[];
}

const MAX_NODES = 1 << 16;

/** @throws {PlanError} if the bytes are no ONNX file, or hold a type that the engine does not have */
export function readOnnxGraph(bytes: Uint8Array): OnnxGraph {
  const graph: OnnxGraph = { nodes: [], initializers: new Map(), inputs: [], outputs: [] };
  let found = false;
  try {
    const file = new PbfReader(bytes);
    file.readFields((tag, _, reader) => {
      if (tag !== 7) return;
      found = true;
      readMessage(reader, (field, inner) => readGraphField(field, inner, graph));
    }, undefined);
    if (file.pos > bytes.length) throw new PlanError("the ONNX file is truncated");
  } catch (cause) {
    if (cause instanceof PlanError) throw cause;
    throw new PlanError("the file is not an ONNX graph", { cause });
  }
  if (!found) throw new PlanError("the file is not an ONNX graph");
  graph.inputs = graph.inputs.filter((name) => !graph.initializers.has(name));
  return graph;
}

type ReadField = (tag: number, reader: PbfReader) => void;

function readMessage(reader: PbfReader, read: ReadField): void {
  const end = reader.readVarint() + reader.pos;
  if (end > reader.length) throw new PlanError("the ONNX file is truncated");
  reader.readFields((tag, _, inner) => read(tag, inner), undefined, end);
}

function readGraphField(tag: number, reader: PbfReader, graph: OnnxGraph): void {
  if (tag === 1) {
    if (graph.nodes.length === MAX_NODES)
      throw new PlanError(`the graph has more than ${MAX_NODES} operators`);
    graph.nodes.push(readNode(reader));
  } else if (tag === 5) {
    const { name, tensor } = readTensor(reader);
    graph.initializers.set(name, tensor);
  } else if (tag === 11 || tag === 12) {
    readMessage(reader, (field, inner) => {
      if (field === 1) (tag === 11 ? graph.inputs : graph.outputs).push(inner.readString());
    });
  }
}

function readNode(reader: PbfReader): OnnxNode {
  const node: OnnxNode = { operator: "", inputs: [], outputs: [], attributes: new Map() };
  let domain = "";
  readMessage(reader, (tag, inner) => {
    if (tag === 1) node.inputs.push(inner.readString());
    else if (tag === 2) node.outputs.push(inner.readString());
    else if (tag === 4) node.operator = inner.readString();
    else if (tag === 5) readAttribute(inner, node.attributes);
    else if (tag === 7) domain = inner.readString();
  });
  if (domain && domain !== "ai.onnx") node.operator = `${domain}.${node.operator}`;
  return node;
}

function readAttribute(reader: PbfReader, attributes: Map<string, Attribute>): void {
  let name = "";
  let value: Attribute | undefined;
  const list: number[] = [];
  readMessage(reader, (tag, inner) => {
    if (tag === 1) name = inner.readString();
    else if (tag === 2) value = inner.readFloat();
    else if (tag === 3) value = clampToInt32(inner.readVarint(true));
    else if (tag === 4) value = new TextDecoder().decode(inner.readBytes());
    else if (tag === 5) value = readTensor(inner).tensor;
    else if (tag === 7) readNumbers(inner, () => inner.readFloat(), list);
    else if (tag === 8) readNumbers(inner, () => inner.readVarint(true), list);
  });
  attributes.set(name, value ?? list);
}

/** Adds a repeated scalar field, packed or one at a time, to `values`. */
function readNumbers(reader: PbfReader, read: () => number, values: number[]): void {
  if (reader.type !== 2) {
    values.push(clampToFloat(read()));
    return;
  }
  const end = reader.readVarint() + reader.pos;
  if (end > reader.length) throw new PlanError("the ONNX file is truncated");
  while (reader.pos < end) values.push(clampToFloat(read()));
}

const clampToFloat = (value: number) => (Number.isInteger(value) ? clampToInt32(value) : value);

function readTensor(reader: PbfReader): { name: string; tensor: Tensor } {
  let name = "";
  let type = 0;
  let raw: Uint8Array | undefined;
  const shape: number[] = [];
  const listed: number[] = [];
  readMessage(reader, (tag, inner) => {
    if (tag === 1) readNumbers(inner, () => inner.readVarint(true), shape);
    else if (tag === 2) type = inner.readVarint();
    else if (tag === 4) readNumbers(inner, () => inner.readFloat(), listed);
    else if (tag === 5 || tag === 7) readNumbers(inner, () => inner.readVarint(true), listed);
    else if (tag === 8) name = inner.readString();
    else if (tag === 9) raw = inner.readBytes();
    else if (tag === 13 || (tag === 14 && inner.readVarint() === 1)) {
      throw new PlanError("the graph keeps weights in another file");
    }
  });
  return { name, tensor: { shape, data: decode(type, elementCount(shape), raw, listed, name) } };
}

function decode(
  type: number,
  count: number,
  raw: Uint8Array | undefined,
  listed: readonly number[],
  name: string,
): Tensor["data"] {
  const size = BYTES[type];
  if (size === undefined) {
    throw new PlanError(`the constant ${name} has the type number ${type}, which the engine does not have`);
  }
  if (!raw) {
    if (listed.length !== count) {
      throw new PlanError(`the constant ${name} has ${listed.length} values of ${count}`);
    }
    if (type === 10) return Float32Array.from(listed, (bits) => fromFloat16Bits(bits));
    return type === 1 ? Float32Array.from(listed) : Int32Array.from(listed);
  }
  const expected = Math.ceil(count * size);
  if (raw.length !== expected) {
    throw new PlanError(`the constant ${name} has ${raw.length} bytes of ${expected}`);
  }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  if (type === 1) return new Float32Array(new Uint8Array(raw).buffer);
  if (type === 10) {
    const halves = new Float32Array(count);
    for (let i = 0; i < count; i++) halves[i] = fromFloat16Bits(view.getUint16(2 * i, true));
    return halves;
  }
  if (type === 22) return unpackInt4(raw, count);
  if (type === 3) return new Int8Array(raw);
  if (type === 6) return Int32Array.from({ length: count }, (_, i) => view.getInt32(4 * i, true));
  if (type === 7) {
    return Int32Array.from({ length: count }, (_, i) => clampToInt32(Number(view.getBigInt64(8 * i, true))));
  }
  return Int32Array.from(raw);
}

/** Bytes of an element: float32, uint8, int8, int32, int64, bool, float16, int4. */
const BYTES: Record<number, number | undefined> = { 1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 22: 0.5 };

/** Two elements a byte, the first in the low half. */
function unpackInt4(raw: Uint8Array, count: number): Int8Array {
  const data = new Int8Array(count);
  for (let i = 0; i < count; i++) {
    const nibble = (raw[i >> 1]! >> ((i & 1) << 2)) & 15;
    data[i] = nibble > 7 ? nibble - 16 : nibble;
  }
  return data;
}
