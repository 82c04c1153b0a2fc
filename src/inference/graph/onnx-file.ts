import { PbfReader, PbfWriter } from "pbf";

/**
 * Edits ONNX files as protocol buffers, only as far as adding nodes around a graph requires. Everything else is copied
 * byte for byte: unknown fields survive and weights are not decoded. Field numbers are those of onnx.proto3 in
 * https://github.com/onnx/onnx.
 *
 * Written by hand over pbf: onnx-proto decodes and re-encodes every weight, and drops fields that it does not know.
 */
const MODEL = { graph: 7, opsetImport: 8 } as const;
const OPSET = { domain: 1, version: 2 } as const;
const GRAPH = { node: 1, initializer: 5, input: 11, output: 12, valueInfo: 13 } as const;
const NAMED = { name: 1, type: 2, initializerName: 8 } as const;
const TYPE = { tensor: 1 } as const;
const TENSOR_TYPE = { element: 1, shape: 2 } as const;
const SHAPE = { dimension: 1 } as const;
const DIMENSION = { value: 1, parameter: 2 } as const;
const NODE = { input: 1, output: 2, name: 3, operator: 4, attribute: 5 } as const;
const ATTRIBUTE = { name: 1, integer: 3, tensor: 5, integers: 8, type: 20 } as const;
const ATTRIBUTE_TYPE = { integer: 2, tensor: 4, integers: 7 } as const;
const TENSOR = { dimensions: 1, element: 2, raw: 9 } as const;

export const ELEMENT = { float: 1, int32: 6, int64: 7 } as const;
export type Element = keyof typeof ELEMENT;

/** Name, type and shape of a tensor; a string is a dimension of any length. */
export interface TensorInfo {
  name: string;
  element: number;
  /** Undefined if the file does not state it. */
  shape: readonly (number | string)[] | undefined;
}

export interface Node {
  operator: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Record<string, number | readonly number[] | ConstantTensor>;
}

export interface ConstantTensor {
  data: Float32Array | Int32Array | BigInt64Array;
  shape: readonly number[];
}

export interface OnnxFile {
  /** Version of the standard operators. */
  opset: number;
  /** Inputs without the weights. */
  inputs: readonly TensorInfo[];
  outputs: readonly TensorInfo[];
}

/** @throws {RangeError} if the bytes are not an ONNX file */
export function readOnnx(bytes: Uint8Array): OnnxFile {
  let opset: number | undefined;
  const inputs: TensorInfo[] = [];
  const outputs: TensorInfo[] = [];
  const initializers = readInitializerNames(bytes);
  for (const field of readFields(bytes)) {
    if (field.tag === MODEL.opsetImport) {
      let domain = "";
      let version = 0;
      for (const { tag, value, number } of readFields(field.value)) {
        if (tag === OPSET.domain) domain = decodeText(value);
        if (tag === OPSET.version) version = number;
      }
      if (domain === "" || domain === "ai.onnx") opset = version;
    }
    if (field.tag !== MODEL.graph) continue;
    for (const { tag, value } of readFields(field.value)) {
      if (tag === GRAPH.input) inputs.push(readTensorInfo(value));
      if (tag === GRAPH.output) outputs.push(readTensorInfo(value));
    }
  }
  if (opset === undefined || outputs.length === 0) throw new RangeError("the file is not an ONNX graph");
  // Files from before 2019 list their weights among the inputs.
  return { opset, inputs: inputs.filter(({ name }) => !initializers.has(name)), outputs };
}

/** Nodes to add around a graph. Their tensor names must not occur in the file (`uniquePrefix`). */
export interface GraphWrapper {
  /** Nodes that produce the graph's input. */
  before: readonly Node[];
  /** Nodes that consume the graph's outputs. */
  after: readonly Node[];
  inputs: readonly TensorInfo[];
  outputs: readonly TensorInfo[];
}

/**
 * Adds nodes before and after those of a file, and replaces its inputs and outputs. The former inputs and outputs become
 * inner tensors.
 */
export function wrapGraph(bytes: Uint8Array, wrapper: GraphWrapper): Uint8Array {
  const initializers = readInitializerNames(bytes);
  const out = new PbfWriter(new Uint8Array(bytes.length + 16384));
  for (const field of readFields(bytes)) {
    if (field.tag !== MODEL.graph) {
      writeRaw(out, field.whole);
      continue;
    }
    out.writeMessage(
      MODEL.graph,
      (_, graph) => {
        for (const node of wrapper.before) graph.writeMessage(GRAPH.node, writeNode, node);
        for (const info of wrapper.inputs) graph.writeMessage(GRAPH.input, writeTensorInfo, info);
        for (const info of wrapper.outputs) graph.writeMessage(GRAPH.output, writeTensorInfo, info);
        for (const { tag, value, whole } of readFields(field.value)) {
          const inner =
            tag === GRAPH.output || (tag === GRAPH.input && !initializers.has(readTensorInfo(value).name));
          if (inner) graph.writeBytesField(GRAPH.valueInfo, value);
          else writeRaw(graph, whole);
        }
        for (const node of wrapper.after) graph.writeMessage(GRAPH.node, writeNode, node);
      },
      undefined,
    );
  }
  return out.finish();
}

/** A prefix that does not occur in the file. */
export function uniquePrefix(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let n = 0; ; n++) {
    const prefix = `device${n}_`;
    if (!text.includes(prefix)) return prefix;
  }
}

interface Field {
  tag: number;
  /** Value of a varint; otherwise 0. */
  number: number;
  /** Value of bytes, strings and messages; otherwise empty. */
  value: Uint8Array;
  /** The field with its key. */
  whole: Uint8Array;
}

function* readFields(bytes: Uint8Array): Generator<Field> {
  const reader = new PbfReader(bytes);
  let start = 0;
  for (let tag = reader.nextField(); tag !== 0; tag = reader.nextField()) {
    const { type } = reader;
    let number = 0;
    let value: Uint8Array = NOTHING;
    if (type === VARINT) number = reader.readVarint(true);
    else if (type === BYTES) value = reader.readBytes();
    else if (type === FIXED32 || type === FIXED64) reader.pos += type === FIXED32 ? 4 : 8;
    else throw new RangeError(`the file is not an ONNX graph: it has a field of type ${type}`);
    if (reader.pos > bytes.length) throw new RangeError("the ONNX file is truncated");
    yield { tag, number, value, whole: bytes.subarray(start, reader.pos) };
    start = reader.pos;
  }
}

const NOTHING = new Uint8Array(0);
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function decodeText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Names of the weights. */
function readInitializerNames(bytes: Uint8Array): Set<string> {
  const initializers = new Set<string>();
  for (const field of readFields(bytes)) {
    if (field.tag !== MODEL.graph) continue;
    for (const { tag, value } of readFields(field.value)) {
      if (tag !== GRAPH.initializer) continue;
      for (const part of readFields(value)) {
        if (part.tag === NAMED.initializerName) initializers.add(decodeText(part.value));
      }
    }
  }
  return initializers;
}

function readTensorInfo(bytes: Uint8Array): TensorInfo {
  let name = "";
  let element = 0;
  let shape: (number | string)[] | undefined;
  for (const info of readFields(bytes)) {
    if (info.tag === NAMED.name) name = decodeText(info.value);
    if (info.tag !== NAMED.type) continue;
    for (const type of readFields(info.value)) {
      if (type.tag !== TYPE.tensor) continue;
      for (const part of readFields(type.value)) {
        if (part.tag === TENSOR_TYPE.element) element = part.number;
        if (part.tag !== TENSOR_TYPE.shape) continue;
        shape = [];
        for (const { tag, value } of readFields(part.value)) {
          if (tag === SHAPE.dimension) shape.push(readDimension(value));
        }
      }
    }
  }
  return { name, element, shape };
}

function readDimension(bytes: Uint8Array): number | string {
  let size: number | string = "";
  for (const { tag, number, value } of readFields(bytes)) {
    if (tag === DIMENSION.value) size = number;
    if (tag === DIMENSION.parameter) size = decodeText(value);
  }
  return size;
}

function writeRaw(out: PbfWriter, bytes: Uint8Array): void {
  out.realloc(bytes.length);
  out.buf.set(bytes, out.pos);
  out.pos += bytes.length;
}

function writeTensorInfo({ name, element, shape }: TensorInfo, out: PbfWriter): void {
  out.writeStringField(NAMED.name, name);
  message(out, NAMED.type, (type) =>
    message(type, TYPE.tensor, (tensor) => {
      tensor.writeVarintField(TENSOR_TYPE.element, element);
      message(tensor, TENSOR_TYPE.shape, (dimensions) => {
        for (const size of shape ?? []) {
          message(dimensions, SHAPE.dimension, (dimension) => {
            if (typeof size === "number") dimension.writeVarintField(DIMENSION.value, size);
            else dimension.writeStringField(DIMENSION.parameter, size);
          });
        }
      });
    }),
  );
}

function writeNode({ operator, inputs, outputs, attributes = {} }: Node, out: PbfWriter): void {
  for (const name of inputs) out.writeStringField(NODE.input, name);
  for (const name of outputs) out.writeStringField(NODE.output, name);
  out.writeStringField(NODE.name, outputs[0]!);
  out.writeStringField(NODE.operator, operator);
  for (const [name, value] of Object.entries(attributes)) {
    message(out, NODE.attribute, (attribute) => {
      attribute.writeStringField(ATTRIBUTE.name, name);
      if (typeof value === "number") {
        attribute.writeVarintField(ATTRIBUTE.integer, value);
        attribute.writeVarintField(ATTRIBUTE.type, ATTRIBUTE_TYPE.integer);
      } else if ("data" in value) {
        message(attribute, ATTRIBUTE.tensor, (tensor) => writeTensor(value, tensor));
        attribute.writeVarintField(ATTRIBUTE.type, ATTRIBUTE_TYPE.tensor);
      } else {
        for (const n of value) attribute.writeVarintField(ATTRIBUTE.integers, n);
        attribute.writeVarintField(ATTRIBUTE.type, ATTRIBUTE_TYPE.integers);
      }
    });
  }
}

function writeTensor({ data, shape }: ConstantTensor, out: PbfWriter): void {
  for (const size of shape) out.writeVarintField(TENSOR.dimensions, size);
  const element =
    data instanceof Float32Array ? ELEMENT.float : data instanceof Int32Array ? ELEMENT.int32 : ELEMENT.int64;
  out.writeVarintField(TENSOR.element, element);
  out.writeBytesField(TENSOR.raw, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function message(out: PbfWriter, tag: number, write: (part: PbfWriter) => void): void {
  out.writeMessage(tag, (_, part) => write(part), undefined);
}
