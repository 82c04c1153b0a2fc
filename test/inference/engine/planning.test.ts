import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { PbfWriter } from "pbf";
import { describe, expect, it } from "vitest";
import { Engine, planGraph } from "../../../src/inference/engine/engine.ts";
import { fuseSteps } from "../../../src/inference/engine/fuse-steps.ts";
import { lowerGraph } from "../../../src/inference/engine/lower-graph.ts";
import { planMemory } from "../../../src/inference/engine/memory-plan.ts";
import { type OnnxGraph, readOnnxGraph } from "../../../src/inference/engine/onnx-graph.ts";
import { PlanError } from "../../../src/inference/engine/plan-error.ts";
import { inputsOf, outputsOf, type Step } from "../../../src/inference/engine/steps.ts";
import { chain, floats, integers, KERNELS, noise, runGraph } from "../../builders/engine-graph.ts";

const MODELS = join(import.meta.dirname, "../../../models");
const BYTES = readFileSync(join(MODELS, "hippocampus/hippocampus-int4-edge.onnx"));
const OPTIONS = { input: "pixels", output: "logits", shape: [1, 3, 128, 128] };

describe("a plan", () => {
  it("gives no two values the same memory while both are needed", () => {
    const { steps, input, output } = fuseSteps(
      lowerGraph(readOnnxGraph(BYTES), "pixels", "logits", OPTIONS.shape),
    );
    const { offsets, byteLength } = planMemory(steps, { input, output });
    const lives = new Map<number, { first: number; last: number; from: number; to: number }>();
    for (const [i, step] of steps.entries()) {
      for (const buffer of [...inputsOf(step), ...outputsOf(step)]) {
        const from = offsets.get(buffer.id)!;
        const to = from + buffer.elements * buffer.elementBytes;
        expect(to).toBeLessThanOrEqual(byteLength);
        const life = lives.get(buffer.id) ?? { first: buffer === input ? -1 : i, last: i, from, to };
        life.last = buffer === output ? steps.length : i;
        lives.set(buffer.id, life);
      }
    }
    const all = [...lives.values()];
    expect(all.length).toBeGreaterThan(200);
    for (const [i, a] of all.entries()) {
      for (const b of all.slice(0, i)) {
        const together = a.first <= b.last && b.first <= a.last;
        if (together) expect(a.from >= b.to || b.from >= a.to).toBe(true);
      }
    }
  });

  it("reads nothing that no step before it wrote", () => {
    const { steps, input } = fuseSteps(lowerGraph(readOnnxGraph(BYTES), "pixels", "logits", OPTIONS.shape));
    const written = new Set([input]);
    for (const step of steps) {
      for (const buffer of inputsOf(step)) expect(written.has(buffer)).toBe(true);
      for (const buffer of outputsOf(step)) written.add(buffer);
    }
  });

  it("joins steps without changing values, beyond the order of float32 additions", async () => {
    const residual = (seed: number): OnnxGraph => {
      const graph = chain(
        { operator: "Conv", constants: [floats([8, 4, 3, 3], seed)], attributes: { pads: [1, 1, 1, 1] } },
        { operator: "Relu" },
        { operator: "Conv", constants: [floats([32, 8, 1, 1], seed + 1), floats([32], seed + 2)] },
        { operator: "DepthToSpace", attributes: { blocksize: 2, mode: "CRD" } },
      );
      const last = graph.nodes.at(-1)!;
      last.outputs = ["up"];
      graph.initializers.set("wide", floats([8, 4, 1, 1], seed + 3));
      graph.nodes.push(
        { operator: "Conv", inputs: ["x", "wide"], outputs: ["skip"], attributes: new Map() },
        {
          operator: "Slice",
          inputs: ["up", "zero", "two", "axes"],
          outputs: ["part"],
          attributes: new Map(),
        },
        {
          operator: "Concat",
          inputs: ["part", "part2"],
          outputs: ["again"],
          attributes: new Map([["axis", 2]]),
        },
        { operator: "Add", inputs: ["up", "again"], outputs: ["sum"], attributes: new Map() },
        {
          operator: "MaxPool",
          inputs: ["sum"],
          outputs: ["down"],
          attributes: new Map([
            ["kernel_shape", [2, 2]],
            ["strides", [2, 2]],
          ]),
        },
        { operator: "Add", inputs: ["down", "skip"], outputs: ["y"], attributes: new Map() },
      );
      graph.initializers.set("zero", integers(0));
      graph.initializers.set("two", integers(2));
      graph.initializers.set("axes", integers(2));
      graph.initializers.set("end", integers(100));
      const at = graph.nodes.findIndex(({ operator }) => operator === "Concat");
      graph.nodes.splice(at, 0, {
        operator: "Slice",
        inputs: ["up", "two", "end", "axes"],
        outputs: ["part2"],
        attributes: new Map(),
      });
      return graph;
    };
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 2, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        async (seed, H, W) => {
          const x = noise(4 * H * W, seed);
          for (const kernels of KERNELS) {
            const joined = await runGraph(residual(seed), [1, 4, H, W], x, kernels);
            const apart = await runGraph(residual(seed), [1, 4, H, W], x, kernels, { fused: false });
            expect(joined.shape).toEqual(apart.shape);
            for (const [i, value] of joined.data.entries())
              expect(Math.abs(value - apart.data[i]!)).toBeLessThan(1e-3);
          }
        },
      ),
      { numRuns: 20 },
    );
    const program = lowerGraph(residual(1), "x", "y", [1, 4, 4, 4]);
    const kinds = (steps: readonly Step[]) => steps.map(({ kind }) => kind);
    expect(kinds(program.steps)).toContain("elementwise");
    expect(kinds(fuseSteps(program).steps).filter((kind) => kind === "elementwise").length).toBeLessThan(
      kinds(program.steps).filter((kind) => kind === "elementwise").length,
    );
  });

  it("keeps to a cap of memory, and says what it needs", async () => {
    const plan = planGraph(BYTES, OPTIONS);
    expect(plan.byteLength).toBeLessThan(24 * 2 ** 20);
    await expect(Engine.create(plan, KERNELS[0]!, 2 ** 20)).rejects.toThrow(
      /^the network needs \d+\.\d MiB of memory, 1\.0 are allowed$/,
    );
  });
});

describe("a graph that the engine cannot run", () => {
  const planned =
    (graph: OnnxGraph, shape: readonly number[] = [1, 4, 6, 6]) =>
    () =>
      lowerGraph(graph, "x", "y", shape);
  const operator = (
    name: string,
    constants: Parameters<typeof chain>[0]["constants"] = [],
    attributes = {},
  ) => chain({ operator: name, constants, attributes });

  it.each<[string, () => unknown, string]>([
    ["an operator by name", planned(operator("Erf")), "the engine does not have the operator Erf"],
    [
      "of another domain",
      planned(operator("com.example.Foo")),
      "the engine does not have the operator com.example.Foo",
    ],
    [
      "groups",
      planned(operator("Conv", [floats([4, 2, 3, 3], 1)], { group: 2 })),
      "the operator Conv has 2 groups of 2 channels for 4; the engine has one group, or one a channel",
    ],
    [
      "a kernel larger than the image",
      planned(operator("Conv", [floats([4, 4, 9, 9], 1)])),
      "the operator Conv has a kernel of 9×9 for 1×4×6×6",
    ],
    [
      "three axes",
      planned(operator("Conv", [floats([4, 4, 3, 3, 3], 1)])),
      "the operator Conv is over other than two axes; the engine has those only",
    ],
    [
      "weights of another size",
      planned(operator("MatMul", [floats([5, 3], 1)])),
      "the operator MatMul multiplies 1×4×6×6 and 5×3",
    ],
    [
      "a shape of another size",
      planned(operator("Reshape", [integers(1, 7)])),
      "a tensor of 1×4×6×6 cannot become 1×7",
    ],
    [
      "a huge shape",
      planned(operator("Relu"), [1, 4, 100_000, 100_000]),
      "a tensor has the shape 1×4×100000×100000, more than 67108864 values",
    ],
    [
      "a scalar where rows were expected",
      planned(operator("com.microsoft.DynamicQuantizeMatMul", [floats([6, 2], 1), floats([2], 2)])),
      "the operator com.microsoft.DynamicQuantizeMatMul has weights of 6×2 for 1×4×6×6",
    ],
  ])("is refused in a sentence: %s", (_, plan, message) => {
    expect(plan).toThrow(PlanError);
    expect(plan).toThrow(message);
  });

  it("is refused for a cycle, and for weights that are missing", () => {
    const cycle = chain({ operator: "Relu" }, { operator: "Relu" });
    cycle.nodes[0]!.inputs = ["y"];
    expect(planned(cycle)).toThrow("the operator Relu reads y, which nothing before it computes");
    const missing = chain({ operator: "MatMul", constants: [floats([6, 3], 1)] });
    missing.initializers.clear();
    expect(planned(missing)).toThrow("the operator MatMul reads c0_0, which nothing before it computes");
  });

  it("is refused when its file is damaged anywhere, or is something else", () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(1, 2, 3), new TextEncoder().encode("<html>")]) {
      expect(() => planGraph(bytes, OPTIONS)).toThrow(PlanError);
    }
    fc.assert(
      fc.property(fc.integer({ min: 1, max: BYTES.length - 200 }), (length) => {
        expect(() => planGraph(BYTES.subarray(0, length), OPTIONS)).toThrow(PlanError);
      }),
      { numRuns: 25 },
    );
  });
});

it("a constant of many listed numbers is read", () => {
  // Fields of onnx.proto3: float_data (4) of a tensor in the initializers (5) of the graph (7).
  const values = Array.from({ length: 200_000 }, (_, i) => i / 4);
  const file = new PbfWriter();
  file.writeMessage(
    7,
    (_, graph) =>
      graph.writeMessage(
        5,
        (__, tensor) => {
          tensor.writePackedVarint(1, [values.length]);
          tensor.writeVarintField(2, 1);
          tensor.writePackedFloat(4, values);
          tensor.writeStringField(8, "w");
        },
        undefined,
      ),
    undefined,
  );
  const tensor = readOnnxGraph(file.finish()).initializers.get("w");
  expect(tensor?.shape).toEqual([values.length]);
  expect(Array.from(tensor!.data)).toEqual(values);
});
