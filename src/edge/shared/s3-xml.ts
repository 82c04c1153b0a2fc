/** Text of the first such element: answers of S3 are flat where they are read here. */
export function xmlElement(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text
    ?.replaceAll("&quot;", '"')
    .replaceAll("&#34;", '"')
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

/** The body as text. Throws where it has more bytes than an answer of S3 may have. */
export async function readXml(response: Response, maxBytes: number): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return "";
  const decoder = new TextDecoder();
  let text = "";
  let byteLength = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    byteLength += read.value.length;
    if (byteLength > maxBytes) {
      await reader.cancel();
      throw new Error(`the S3 server answers with more than ${maxBytes} bytes`);
    }
    text += decoder.decode(read.value, { stream: true });
  }
  return text + decoder.decode();
}
