// Requests to the server that this page comes from.

import { key } from "./key.js";

/** What went wrong, as the server words it. */
export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 where there was no response.
   * @param {?string} retryAfter the seconds to wait, as the header has them.
   * @param {?string} key that it was sent with.
   */
  constructor(message, status = 0, retryAfter = null, key = null) {
    super(message);
    Object.assign(this, { status, retryAfter, key });
  }
}

/**
 * Sends a request, with the key if there is one.
 *
 * @returns {Promise<{text: string, body: any, response: Response, milliseconds: number}>} `body` is
 *     the response's JSON, undefined where it is none; the time is that until all of it was here.
 * @throws {RequestError}
 */
export async function request(path, { headers = {}, ...options } = {}) {
  const used = key.value;
  const began = performance.now();
  let response;
  let text;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...key.headers } });
    text = await response.text();
  } catch {
    throw new RequestError("The server does not answer, or the file cannot be read.");
  }
  const milliseconds = performance.now() - began;
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    // Not all that answers speaks JSON: a proxy, for example.
  }
  if (!response.ok) {
    throw new RequestError(
      wording(body, response),
      response.status,
      response.headers.get("Retry-After"),
      used,
    );
  }
  return { text, body, response, milliseconds };
}

/** Falconet's form of an error, the Open Inference Protocol's, TorchServe's, or none. */
function wording(body, response) {
  const said = body?.error?.message ?? body?.error ?? body?.message;
  return typeof said === "string" ? said : `Status ${response.status} ${response.statusText}`;
}

/** The path of a model, or of one of its versions. */
export function modelPath(kind, model, version) {
  return ["", kind, model, ...(version ? [version] : [])].map(encodeURIComponent).join("/");
}
