import * as z from "zod";
import { isOrientation } from "../tiling/grid/orientation.ts";

const file = z.object({
  /** Path relative to the package. */
  path: z
    .string()
    .regex(/^(?!.*(^|\/)\.\.?(\/|$))[\w][\w./-]*$/, "must be a plain relative path inside the package"),
});

const goldenArray = file.extend({
  shape: z.array(z.int().positive()).min(3),
  dtype: z.literal("uint8"),
});

const golden = z.object({
  /** Pixels `[1, ...window, C]` and the intensities of their normalization. */
  input: goldenArray.extend({ low: z.number(), high: z.number() }),
  /** `round(255 p)` of the class probabilities, `[1, K, ...window]`. */
  output: goldenArray,
  /** Allowed difference in probability. */
  tolerance: z.object({ maxAbs: z.number().positive(), meanAbs: z.number().positive() }),
});

const hashedFile = file.extend({
  byteLength: z.int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const variant = z.object({
  files: z.array(hashedFile).min(1),
  /** The same network computing in float16 between float32 input and output, for devices that are faster with it. */
  half: hashedFile.optional(),
  /** Names of the graph's input `[N, C, ...window]` and output `[N, K, ...window]`. */
  input: z.string(),
  output: z.string(),
  /** Fixed number of windows of a run; default any number. */
  windowsPerRun: z.int().positive().optional(),
  parameters: z.number().optional(),
  macs: z.number().optional(),
  bits: z.number().optional(),
  sparsity: z.number().optional(),
  accuracy: z.record(z.string(), z.union([z.string(), z.number(), z.null()])).optional(),
  memoryBytes: z.number().optional(),
  golden: golden.optional(),
});

const share = z.number().min(0).max(1);
const reach = z.number().positive().max(1000);
const range = z
  .object({ min: z.number().positive(), max: z.number().positive() })
  .refine((r) => r.min <= r.max, "min must not exceed max");
const perAxis = z.object({ z: range.optional(), y: range, x: range });
const histogram = z.object({ mean: z.array(share).min(2).max(256), reach });

const domainKind = z.object({
  name: z.string().min(1).max(64),
  pictures: z.int().positive(),
  /** Mean histogram over [0, 1] of the mean of the channels; of a slice model, of the slice itself. */
  luminance: histogram,
  /** Mean histogram of the largest minus the smallest channel; absent, like `colour`, if colour is not compared. */
  saturation: histogram.optional(),
  /** Mean of (channel - luminance). */
  colour: z.object({ mean: z.array(z.number().min(-1).max(1)).length(3), reach }).optional(),
  /** Mean of ln(variance of the 4-neighbour Laplacian of luminance + 1e-8). */
  sharpness: z.object({ mean: z.number().min(-100).max(100), reach }),
  /** Sizes of the stored pixels, in the unit of `input.spacing`. */
  spacing: perAxis,
  /** Lengths of the sides of the training volumes. */
  extent: perAxis.optional(),
  /** Diameters of the annotated objects, as circles of the same area. */
  objectDiameter: z.object({ median: z.number().positive(), p99: z.number().positive() }).optional(),
});

/** Statistics of the training images as the network sees them. docs/format.md describes the comparison with a scan. */
const domain = z
  .object({
    /** A DICOM modality: SM (slide microscopy), MR, CT. */
    modality: z.string().regex(/^[A-Z]{2,16}$/),
    bins: z.int().min(2).max(256),
    kinds: z.array(domainKind).min(1).max(32),
  })
  .superRefine(({ bins, kinds }, context) => {
    for (const { name, luminance, saturation } of kinds) {
      for (const { mean } of [luminance, ...(saturation ? [saturation] : [])]) {
        if (mean.length === bins) continue;
        context.addIssue({
          code: "custom",
          message: `kind ${name} has a histogram of ${mean.length} bins, domain.bins is ${bins}`,
        });
      }
    }
  });

export const manifestSchema = z.object({
  formatVersion: z.literal(1),
  name: z.string().regex(/^[\w][\w.-]*$/),
  version: z.string(),
  license: z.string(),
  description: z.string().optional(),
  trainingData: z
    .array(z.object({ name: z.string(), license: z.string(), url: z.string().optional() }))
    .default([]),
  /** Class index = position; 0 is background. */
  classes: z
    .array(z.object({ name: z.string(), color: z.string().regex(/^#[0-9a-fA-F]{6}$/) }))
    .min(2)
    .max(255),
  input: z
    .object({
      axes: z.enum(["yx", "zyx"]),
      channels: z.int().positive(),
      /** For a 2-D network over a volume: its channels are the slice and `context` neighbours before and after along `axis`. */
      slices: z.object({ axis: z.enum(["z", "y", "x"]), context: z.int().nonnegative() }).optional(),
      /**
       * Directions of x, y and z of the training volumes, for instance "RAS"; "stored" for volumes without a patient, as from
       * a microscope. Required for volumes.
       */
      orientation: z
        .string()
        .refine(
          (code) => code === "stored" || isOrientation(code),
          "must be a code such as RAS or LPS, or stored",
        )
        .optional(),
      dtype: z.literal("float32"),
      /** Sample spacing of the training images. */
      spacing: z.object({
        z: z.number().positive().optional(),
        y: z.number().positive(),
        x: z.number().positive(),
        unit: z.enum(["micrometer", "millimeter"]),
      }),
      /** Relative deviation up to which a level is not resampled. */
      spacingTolerance: z.number().nonnegative().default(0.1),
      /** Maximum pixel size relative to `spacing`; coarser images are rejected. */
      maxMagnification: z.number().min(1).optional(),
      normalization: z.discriminatedUnion("kind", [
        z.object({
          kind: z.literal("percentile"),
          low: z.number().min(0).max(100),
          high: z.number().min(0).max(100),
          /** Percentiles of the whole image, all channels together. */
          scope: z.literal("image"),
          joint: z.literal(true).default(true),
          clip: z.tuple([z.number(), z.number()]).optional(),
          scale: z.number().optional(),
          offset: z.number().optional(),
        }),
        z.object({
          kind: z.literal("range"),
          low: z.number(),
          high: z.number(),
          clip: z.tuple([z.number(), z.number()]).optional(),
          scale: z.number().optional(),
          offset: z.number().optional(),
        }),
      ]),
    })
    .refine(({ axes, slices, orientation }) => (axes === "yx" && !slices) || orientation !== undefined, {
      path: ["orientation"],
      message:
        'is missing: a model of volumes states the orientation it was trained in, for instance RAS, or "stored"',
    }),
  window: z.object({
    size: z.array(z.int().positive()).min(2).max(3),
    overlapRatio: z.number().min(0).lt(1).default(0.25),
    importance: z.enum(["gaussian", "constant"]).default("gaussian"),
    policy: z.enum(["monai", "nnunet"]).default("monai"),
  }),
  output: z.object({ activation: z.enum(["softmax", "sigmoid", "none"]) }),
  /** Rule that separates objects; without it every connected component of a class is an object. */
  objects: z
    .object({
      interior: z.array(z.int().positive()).min(1),
      boundary: z.array(z.int().positive()).default([]),
      connectivity: z.union([z.literal(4), z.literal(8)]).default(4),
      /** Unit: model pixels. */
      minArea: z.number().nonnegative().default(0),
      maxGrow: z.int().positive().optional(),
      className: z.string(),
    })
    .optional(),
  domain: domain.optional(),
  defaultVariant: z.string(),
  variants: z.record(z.string(), variant),
  golden: golden.optional(),
});

/** Validated `model.json` of a package. docs/format.md describes the format. */
export type ModelManifest = z.infer<typeof manifestSchema>;
export type ModelVariant = z.infer<typeof variant>;
export type ModelDomain = z.infer<typeof domain>;
export type Golden = z.infer<typeof golden>;
export type HashedFile = z.infer<typeof hashedFile>;
