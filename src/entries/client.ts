/** `tilewright/client`: jobs, uploads and results of a job service, in every runtime. */
export { JobFailedError, ServiceError } from "../client/errors.ts";
export { JobClient } from "../client/job-client.ts";
export type { OutputFile, RemoteUpload } from "../client/schemas.ts";
export type { JobClientOptions } from "../client/service-http.ts";
export type { JobStatus } from "../contracts/job-request.ts";
