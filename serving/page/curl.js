// The command that sends the same request.

// What a terminal would take for a key or a command.
const CONTROL = /[\x00-\x1f\x7f-\x9f]/;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** One line for a POSIX shell; the key itself is not in it. */
export function curlLine(path, fileName, withKey) {
  return [
    "curl",
    ...(withKey ? ["-H", quoted("X-Api-Key: KEY")] : []),
    "--data-binary",
    quoted(CONTROL.test(fileName) ? "@IMAGE" : `@./${fileName}`),
    quoted(new URL(path, location.href).href),
  ].join(" ");
}
