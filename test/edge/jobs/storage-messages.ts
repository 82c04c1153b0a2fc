/** Messages of the storages, without the fields that we do not read. */

export const ETAG = "d41d8cd98f00b204e9800998ecf8427e";

export function s3Record(key: string, over: { eventName?: string; object?: object; bucket?: string } = {}) {
  return {
    eventVersion: "2.1",
    eventSource: "aws:s3",
    awsRegion: "eu-central-1",
    eventTime: "2026-11-24T12:00:00.000Z",
    eventName: over.eventName ?? "ObjectCreated:Put",
    s3: {
      s3SchemaVersion: "1.0",
      configurationId: "scans",
      bucket: { name: over.bucket ?? "slides", arn: "arn:aws:s3:::slides" },
      object: { key, size: 1024, eTag: ETAG, sequencer: "0055AED6DCD90281E5", ...over.object },
    },
  };
}

export const s3Body = (...keys: string[]) => ({ Records: keys.map((key) => s3Record(key)) });

export const S3_TEST_EVENT = {
  Service: "Amazon S3",
  Event: "s3:TestEvent",
  Time: "2026-11-24T12:00:00.000Z",
  Bucket: "slides",
  RequestId: "5582815E1AEA5ADF",
  HostId: "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
};

export function minioBody(key: string, eventName = "s3:ObjectCreated:CompleteMultipartUpload") {
  const record = s3Record(key, { eventName, object: { versionId: "null" } });
  return {
    EventName: eventName,
    Key: `slides/${decodeURIComponent(key.replaceAll("+", " "))}`,
    Records: [{ ...record, eventSource: "minio:s3" }],
  };
}

export function eventBridgeBody(key: string, over: object = {}) {
  return {
    version: "0",
    id: "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    source: "aws.s3",
    account: "123456789012",
    time: "2026-11-24T12:00:00Z",
    region: "eu-central-1",
    resources: ["arn:aws:s3:::slides"],
    detail: {
      version: "0",
      bucket: { name: "slides" },
      object: {
        key,
        size: 5,
        etag: ETAG,
        "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        sequencer: "00617F",
      },
      "request-id": "N4N7GDK58NMKJ12R",
      reason: "PutObject",
    },
    ...over,
  };
}

export function r2Body(key: string, action = "PutObject", object: object = { size: 7, eTag: ETAG }) {
  return {
    account: "3f4b7e3dcab231cbfdaa90a6a28bd548",
    action,
    bucket: "scans",
    object: { key, ...object },
    eventTime: "2026-11-24T12:00:00.000Z",
  };
}
