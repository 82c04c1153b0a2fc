import { parseXml, type XmlElement } from "../../codecs/xml.ts";
import { readBytesBounded } from "./read-bytes-bounded.ts";

/**
 * The body of a response of S3.
 * @returns its root element; undefined where the body is not XML
 * @throws {TooManyBytesError} where it has more than `maxBytes`
 */
export async function readS3Xml(response: Response, maxBytes: number): Promise<XmlElement | undefined> {
  const bytes = await readBytesBounded(response.body, maxBytes);
  return parseXml(new TextDecoder().decode(bytes), { text: true });
}
