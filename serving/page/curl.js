// The command that sends the same request.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** One line for a POSIX shell; the key itself is not in it. */
export function curlLine(path, fileName, withKey) {
  return [
    "curl",
    ...(withKey ? ["-H", quoted("X-Api-Key: KEY")] : []),
    "--data-binary",
    quoted(`@${fileName}`),
    quoted(new URL(path, location.href).href),
  ].join(" ");
}
