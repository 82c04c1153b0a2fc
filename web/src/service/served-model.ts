import type { JobClient, RemoteModel } from "../../../src/client/job-client.ts";
import type { PlacedKey } from "../data/place.ts";

/** The model that the service runs, and where its package is. @throws {Error} a sentence, if the token may not read it */
export async function openServedModel(
  client: JobClient,
  token: string,
): Promise<{ model: RemoteModel; place: PlacedKey }> {
  const model = await client.model();
  const file = await fetch("/v1/model/files/model.json", {
    headers: { Authorization: `Bearer ${token}` },
  });
  await file.body?.cancel();
  if (file.status === 403)
    throw new Error(
      "this token may not start jobs (it lacks the scope submit), so no region can be segmented",
    );
  const store = { base: `${location.origin}/v1/model/`, token };
  return { model, place: { key: "files", place: { kind: "server", store } } };
}
