/**
 * Rejects keys that could leave the store: absolute ones, empty or dot segments, NUL.
 * @throws {TypeError} with the key in the message; a bad key is a bug of the caller, not of the storage
 */
export function checkKey(key: string): void {
  if (key === "") throw new TypeError("a storage key must not be empty");
  if (key.includes("\0")) throw new TypeError(`storage key ${JSON.stringify(key)} holds a NUL character`);
  for (const segment of key.split("/")) {
    if (segment === "" || segment === "." || segment === "..") {
      throw new TypeError(`storage key ${JSON.stringify(key)} has an empty, "." or ".." segment`);
    }
  }
}
