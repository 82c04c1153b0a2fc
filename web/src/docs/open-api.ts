/** The parts of an OpenAPI 3.1 document that the page shows. */
export interface ApiDocument {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, ApiOperation>>;
  components?: { schemas?: Record<string, ApiSchema> };
}

export interface ApiOperation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: object[];
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    description?: string;
    example?: unknown;
    schema?: ApiSchema;
  }[];
  requestBody?: { content: Record<string, { schema?: ApiSchema; example?: unknown }> };
  responses: Record<string, { description?: string; content?: Record<string, { schema?: ApiSchema }> }>;
}

export interface ApiSchema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  properties?: Record<string, ApiSchema>;
  required?: string[];
  items?: ApiSchema;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  anyOf?: ApiSchema[];
  oneOf?: ApiSchema[];
  allOf?: ApiSchema[];
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
}

export interface NamedOperation {
  method: string;
  path: string;
  operation: ApiOperation;
}

/** Operations by tag, in the order of the document's tags; those without one come last. */
export function groupOperations({ tags = [], paths }: ApiDocument) {
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): NamedOperation => ({ method, path, operation })),
  );
  const known = new Set(tags.map(({ name }) => name));
  const groups = tags.map(({ name, description }) => ({
    name,
    description,
    operations: all.filter(({ operation }) => operation.tags?.[0] === name),
  }));
  const others = all.filter(({ operation }) => !known.has(operation.tags?.[0] ?? ""));
  return [...groups, { name: "Others", description: undefined, operations: others }].filter(
    ({ operations }) => operations.length > 0,
  );
}

/** The schema that a reference names, and the name. References elsewhere are left as they are. */
export function resolveSchema(
  { components }: ApiDocument,
  schema: ApiSchema,
): { name?: string; schema: ApiSchema } {
  const name = /^#\/components\/schemas\/(.+)$/.exec(schema.$ref ?? "")?.[1];
  const found = name === undefined ? undefined : components?.schemas?.[name];
  return found ? { name, schema: found } : { schema };
}

/** A type and its limits in words. */
export function typeText(document: ApiDocument, schema: ApiSchema): string {
  const { name, schema: own } = resolveSchema(document, schema);
  if (name) return name;
  const choices = own.anyOf ?? own.oneOf;
  if (choices) return choices.map((choice) => typeText(document, choice)).join(" or ");
  if (own.enum) return own.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (own.const !== undefined) return JSON.stringify(own.const);
  if (own.items) return `list of ${typeText(document, own.items)}`;
  return [own.type].flat().filter(Boolean).join(" or ") || "any";
}

/** Limits of a value, a phrase each. */
export function limitTexts(schema: ApiSchema): string[] {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern, format } = schema;
  return [
    ...range(minimum, maximum, ""),
    ...range(minLength, maxLength, " characters"),
    ...range(minItems, maxItems, " items"),
    ...(format ? [`format ${format}`] : []),
    ...(pattern ? [`matches ${pattern}`] : []),
    ...(schema.default === undefined ? [] : [`default ${JSON.stringify(schema.default)}`]),
  ];
}

function range(least: number | undefined, most: number | undefined, unit: string): string[] {
  // zod states the limits of whole numbers, which say nothing.
  const from = least !== undefined && Math.abs(least) < Number.MAX_SAFE_INTEGER ? least : undefined;
  const to = most !== undefined && Math.abs(most) < Number.MAX_SAFE_INTEGER ? most : undefined;
  if (from === undefined && to === undefined) return [];
  if (from === undefined) return [`at most ${to}${unit}`];
  return [to === undefined ? `at least ${from}${unit}` : `${from} to ${to}${unit}`];
}

/** The request as a command line. */
export function curlText(origin: string, { method, path, operation }: NamedOperation): string {
  const values = new Map(
    (operation.parameters ?? []).filter((p) => p.in === "path").map((p) => [p.name, p.example]),
  );
  const target = path.replace(/\{(\w+)\}/g, (whole, name: string) => String(values.get(name) ?? whole));
  const isOpen = operation.security?.length === 0;
  const body = operation.requestBody?.content["application/json"]?.example;
  return [
    `curl ${method === "head" ? "--head " : method === "get" ? "" : `-X ${method.toUpperCase()} `}${origin}${target}`,
    ...(isOpen ? [] : [`-H "Authorization: Bearer $TILEWRIGHT_TOKEN"`]),
    ...(body === undefined
      ? []
      : [`-H "Content-Type: application/json"`, `-d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`]),
  ].join(" \\\n  ");
}
