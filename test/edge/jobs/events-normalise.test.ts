import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readEventBridge } from "../../../src/edge/jobs/events/eventbridge.ts";
import { readMinio } from "../../../src/edge/jobs/events/minio.ts";
import { readQueuedEvent } from "../../../src/edge/jobs/events/queued-event.ts";
import { readR2Notification } from "../../../src/edge/jobs/events/r2-notification.ts";
import { readS3Records } from "../../../src/edge/jobs/events/s3-records.ts";
import { bareEtag, isSameEtag, type ReadEvents } from "../../../src/edge/jobs/events/storage-event.ts";
import { HttpError } from "../../../src/service/http-error.ts";
import {
  ETAG,
  eventBridgeBody,
  minioBody,
  r2Body,
  S3_TEST_EVENT,
  s3Body,
  s3Record,
} from "./storage-messages.ts";

const readS3 = (body: unknown) => readS3Records(body, "s3");
/** Encodes keys like S3. */
const encode = (key: string) => encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/");

const LONE_SURROGATE = /\p{Surrogate}/u;
const KEY = "größe 1/a+b & c%20d.svs";

test("messages of all senders give the same event", () => {
  const bare = { key: KEY, etag: ETAG, action: "create" };
  expect(readS3(s3Body(encode(KEY))).events).toEqual([
    { ...bare, bucket: "slides", byteLength: 1024, sequencer: "0055AED6DCD90281E5", provider: "s3" },
  ]);
  expect(readMinio(minioBody(encode(KEY))).events).toEqual([
    { ...bare, bucket: "slides", byteLength: 1024, sequencer: "0055AED6DCD90281E5", provider: "minio" },
  ]);
  expect(readEventBridge(eventBridgeBody(KEY)).events).toEqual([
    {
      ...bare,
      bucket: "slides",
      byteLength: 5,
      sequencer: "00617F",
      version: "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
      provider: "s3",
    },
  ]);
  for (const action of ["PutObject", "CopyObject", "CompleteMultipartUpload"]) {
    expect(readR2Notification(r2Body(KEY, action)).events).toEqual([
      { ...bare, bucket: "scans", byteLength: 7, provider: "r2" },
    ]);
  }
});

test("decodes every key that S3 and MinIO encode", () => {
  const key = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
    .filter((k) => !LONE_SURROGATE.test(k));
  fc.assert(
    fc.property(key, (k) => {
      const { events, ignored } = readS3(s3Body(encode(k)));
      expect(events.length + ignored).toBe(1);
      for (const event of events) expect(event.key).toBe(k);
      expect(readMinio(minioBody(encode(k))).events.map((e) => e.key)).toEqual(events.map((e) => e.key));
    }),
  );
});

test("reads queue messages of R2 and of webhooks", () => {
  const { events } = readS3(s3Body(encode(KEY)));
  // As in a queue.
  expect(readQueuedEvent(JSON.parse(JSON.stringify(events[0])))).toEqual({ events, ignored: 0 });
  expect(readQueuedEvent(r2Body(KEY))).toEqual(readR2Notification(r2Body(KEY)));
  expect(readQueuedEvent({ ...events[0], key: "../a" })).toEqual({ events: [], ignored: 1 });
  for (const body of [
    null,
    "x",
    {},
    { provider: "r2" },
    { ...events[0], bucket: "a/b" },
    { ...events[0], x: 1 },
  ]) {
    expect(() => readQueuedEvent(body)).toThrow(HttpError);
  }
});

test("several records give several events, in order and with versions", () => {
  const records = [
    s3Record("a", { object: { versionId: "v1" } }),
    s3Record("b", { object: { versionId: "" } }),
  ];
  const { events } = readS3({ Records: records });
  expect(events.map(({ key, version }) => [key, version])).toEqual([
    ["a", "v1"],
    ["b", undefined],
  ]);
});

test.each([`"${ETAG}"`, ETAG, `"${ETAG}-12"`])("removes the quotes of the etag %s", (eTag) => {
  const bare = eTag.replaceAll('"', "");
  expect(bareEtag(eTag)).toBe(bare);
  expect(isSameEtag(eTag, bare)).toBe(true);
  expect(isSameEtag(eTag, `${bare}0`)).toBe(false);
  expect(readS3({ Records: [s3Record("a", { object: { eTag } })] }).events[0]!.etag).toBe(bare);
  expect(readR2Notification(r2Body("a", "PutObject", { size: 1, eTag })).events[0]!.etag).toBe(bare);
});

describe("events other than new objects are ignored", () => {
  const gone = { size: undefined, eTag: undefined };
  test.each([
    ["a test event", readS3, S3_TEST_EVENT, 1],
    ["no record", readS3, { Records: [] }, 0],
    [
      "a deletion",
      readS3,
      { Records: [s3Record("a", { eventName: "ObjectRemoved:Delete", object: gone })] },
      1,
    ],
    ["a restore", readS3, { Records: [s3Record("a", { eventName: "ObjectRestore:Completed" })] }, 1],
    [
      "a name that only ends alike",
      readS3,
      { Records: [s3Record("a", { eventName: "xObjectCreated:Put" })] },
      1,
    ],
    ["a deletion of MinIO", readMinio, minioBody("a", "s3:ObjectRemoved:Delete"), 1],
    ["a look at an object of MinIO", readMinio, minioBody("a", "s3:ObjectAccessed:Get"), 1],
    [
      "another kind of EventBridge",
      readEventBridge,
      eventBridgeBody("a", { "detail-type": "Object Deleted" }),
      1,
    ],
    ["another source of EventBridge", readEventBridge, eventBridgeBody("a", { source: "my.app" }), 1],
  ] as [string, (body: unknown) => ReadEvents, unknown, number][])("%s", (_, read, body, ignored) => {
    expect(read(body)).toEqual({ events: [], ignored });
  });

  test("reads deletions of R2 as deletions", () => {
    for (const action of ["DeleteObject", "LifecycleDeletion"]) {
      expect(readR2Notification(r2Body("a", action, {})).events).toEqual([
        { bucket: "scans", key: "a", etag: "", action: "delete", provider: "r2" },
      ]);
    }
  });
});

test.each([
  "../a",
  "a/../b",
  "a/./b",
  "/a",
  "a//b",
  "folder/",
  "a\nb",
  "a\0b",
  "a\u009fb",
  "é".repeat(513),
  "a".repeat(1025),
  "\ud800",
])("an object with the key %j is ignored", (key) => {
  const ignored = { events: [], ignored: 1 };
  if (!LONE_SURROGATE.test(key)) expect(readS3(s3Body(encode(key)))).toEqual(ignored);
  expect(readEventBridge(eventBridgeBody(key))).toEqual(ignored);
  expect(readR2Notification(r2Body(key))).toEqual(ignored);
});

describe("other messages are rejected with 400", () => {
  const withObject = (object: object) => ({ Records: [s3Record("a", { object })] });
  test.each([
    [readS3, undefined],
    [readS3, null],
    [readS3, []],
    [readS3, "Records"],
    [readS3, {}],
    [readS3, { Records: {} }],
    [readS3, { Records: [{}] }],
    [readS3, s3Body("%zz")],
    [readS3, s3Body("%ff")],
    [readS3, s3Body("")],
    [readS3, { Records: Array.from({ length: 101 }, () => s3Record("a")) }],
    [readS3, withObject({ size: -1 })],
    [readS3, withObject({ size: "1" })],
    [readS3, withObject({ size: 1e300 })],
    [readS3, withObject({ eTag: undefined })],
    [readS3, withObject({ eTag: "" })],
    [readS3, withObject({ sequencer: {} })],
    [readS3, { Records: [s3Record("a", { bucket: "../etc" })] }],
    [readS3, { Records: [s3Record("a", { bucket: "a/b" })] }],
    [readMinio, s3Body("a")],
    [readMinio, { EventName: "s3:ObjectCreated:Put", Key: "slides/a" }],
    [readEventBridge, {}],
    [readEventBridge, eventBridgeBody("a", { detail: {} })],
    [readEventBridge, eventBridgeBody("")],
    [readR2Notification, {}],
    [readR2Notification, r2Body("a", "Explode")],
    [readR2Notification, r2Body("a", "PutObject", {})],
    [readR2Notification, r2Body("")],
  ] as [(body: unknown) => ReadEvents, unknown][])("%o %j", (read, body) => {
    expect(() => read(body)).toThrow(HttpError);
    try {
      read(body);
    } catch (error) {
      expect(error).toMatchObject({ status: 400, code: "bad_event" });
    }
  });

  test("for any JSON, or read as events", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const read of [readS3, readMinio, readEventBridge, readR2Notification]) {
          try {
            read(value);
          } catch (error) {
            expect(error).toBeInstanceOf(HttpError);
          }
        }
      }),
    );
  });
});
