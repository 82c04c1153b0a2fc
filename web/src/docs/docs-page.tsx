import { useEffect, useState } from "preact/hooks";
import {
  type ApiDocument,
  type ApiSchema,
  curlText,
  groupOperations,
  limitTexts,
  type NamedOperation,
  resolveSchema,
  typeText,
} from "./open-api.ts";

/** Schemas inside schemas that are shown without a further click. */
const MAX_DEPTH = 4;

/** The routes of the service, from its own OpenAPI document. Nothing is sent but the request for it. */
export function DocsPage() {
  const [document_, setDocument] = useState<ApiDocument>();
  const [problem, setProblem] = useState<string>();
  useEffect(() => {
    document.title = "Routes – Tilewright";
    readDocument().then(setDocument, (error: Error) => setProblem(error.message));
  }, []);
  if (problem)
    return (
      <main class="plain">
        <h1>Routes</h1>
        <p role="alert" class="problem">
          {problem}
        </p>
      </main>
    );
  if (document_ === undefined)
    return (
      <main class="plain">
        <output>Reading …</output>
      </main>
    );
  const { info } = document_;
  return (
    <main class="docs">
      <h1>
        {info.title} {info.version}
      </h1>
      <p>{info.description}</p>
      <p>
        <a href="/">Scans</a> · <a href="/v1/openapi.json">openapi.json</a> (OpenAPI 3.1)
      </p>
      {groupOperations(document_).map(({ name, description, operations }) => (
        <section key={name}>
          <h2>{name}</h2>
          {description && <p class="note">{description}</p>}
          {operations.map((operation) => (
            <Operation key={operation.method + operation.path} api={document_} named={operation} />
          ))}
        </section>
      ))}
    </main>
  );
}

async function readDocument(): Promise<ApiDocument> {
  const response = await fetch("/v1/openapi.json").catch(() => {
    throw new Error("the service does not respond; try again");
  });
  if (!response.ok)
    throw new Error(
      "this address belongs to no service: routes exist at tilewright up or a deployed service",
    );
  return (await response.json()) as ApiDocument;
}

function Operation({ api, named }: { api: ApiDocument; named: NamedOperation }) {
  const { method, path, operation } = named;
  const { parameters = [], requestBody, responses } = operation;
  return (
    <details id={operation.operationId}>
      <summary>
        <code class={`method ${method}`}>{method.toUpperCase()}</code> <code>{path}</code>
        <span>{operation.summary}</span>
      </summary>
      <div class="operation">
        <pre>{curlText(location.origin, named)}</pre>
        {parameters.length > 0 && (
          <>
            <h3>Parameters</h3>
            <dl>
              {parameters.map((parameter) => (
                <div key={parameter.in + parameter.name}>
                  <dt>
                    <code>{parameter.name}</code>
                  </dt>
                  <dd>
                    {[
                      `${parameter.in}, ${parameter.required ? "required" : "optional"}`,
                      parameter.schema && typeText(api, parameter.schema),
                      ...(parameter.schema ? limitTexts(parameter.schema) : []),
                      parameter.description,
                    ]
                      .filter(Boolean)
                      .join("; ")}
                  </dd>
                </div>
              ))}
            </dl>
          </>
        )}
        {Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => (
          <div key={type}>
            <h3>Body: {type}</h3>
            {schema && <Schema api={api} schema={schema} depth={0} />}
          </div>
        ))}
        <h3>Responses</h3>
        <dl>
          {Object.entries(responses).map(([status, { description, content = {} }]) => (
            <div key={status}>
              <dt>
                <code>{status}</code>
              </dt>
              <dd>
                {description}
                {Object.entries(content).map(([type, { schema }]) =>
                  schema && Number(status) < 400 ? (
                    <Schema key={type} api={api} schema={schema} depth={0} />
                  ) : null,
                )}
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </details>
  );
}

function Schema({ api, schema, depth }: { api: ApiDocument; schema: ApiSchema; depth: number }) {
  const { name, schema: own } = resolveSchema(api, schema);
  const inner = own.items ? resolveSchema(api, own.items).schema : own;
  const fields = Object.entries(inner.properties ?? {});
  if (fields.length === 0)
    return <p>{[typeText(api, schema), ...limitTexts(own), own.description].filter(Boolean).join("; ")}</p>;
  return (
    <>
      {(name || own.items) && <p>{name ?? typeText(api, own)}</p>}
      <dl class="fields">
        {fields.map(([field, value]) => {
          const resolved = resolveSchema(api, value).schema;
          const nested = resolved.items ? resolveSchema(api, resolved.items).schema : resolved;
          const isNested = nested.properties !== undefined && depth < MAX_DEPTH;
          return (
            <div key={field}>
              <dt>
                <code>{field}</code>
                {inner.required?.includes(field) ? "" : " (optional)"}
              </dt>
              <dd>
                {[typeText(api, value), ...limitTexts(resolved), resolved.description]
                  .filter(Boolean)
                  .join("; ")}
                {isNested && <Schema api={api} schema={resolved} depth={depth + 1} />}
              </dd>
            </div>
          );
        })}
      </dl>
    </>
  );
}
