import type { MiddlewareHandler } from "hono";
import { parseBearer, unauthorized } from "../../../service/bearer.ts";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import { allows, findToken, parseTokens, type Scope } from "./tokens.ts";

/** Context variables that `requireScope` sets. */
export interface AccessEnv {
  Bindings: Pick<Bindings, "TOKENS">;
  Variables: {
    /** Name of the token, for logs; never the token. */
    caller: string;
  };
}

/**
 * Requires a bearer token with the scope. Tokens come in the header only, because URLs end up in logs and histories;
 * browsers follow progress with `fetch`, which can set headers, not with `EventSource`.
 * @throws {HttpError} 401 without a known token, 403 without the scope, 503 while none is configured
 */
export function requireScope(scope: Scope): MiddlewareHandler<AccessEnv> {
  return requireScopeFor(() => scope);
}

/** For all routes below a path: GET and HEAD need `read`, other methods `submit`. */
export function requireAccess(): MiddlewareHandler<AccessEnv> {
  return requireScopeFor((method) => (method === "GET" || method === "HEAD" ? "read" : "submit"));
}

function requireScopeFor(scopeOf: (method: string) => Scope): MiddlewareHandler<AccessEnv> {
  return async (c, next) => {
    const scope = scopeOf(c.req.method);
    const token = await findToken(parseTokens(c.env), parseBearer(c.req.header("Authorization")));
    if (!token) throw unauthorized();
    if (!allows(token, scope)) {
      throw new HttpError(403, "forbidden", `the token ${token.name} lacks the scope ${scope}`, {
        "WWW-Authenticate": `Bearer error="insufficient_scope", scope="${scope}"`,
      });
    }
    c.set("caller", token.name);
    await next();
  };
}
