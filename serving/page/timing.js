// Where the time of a request went.

import { element } from "./element.js";

/**
 * The stages of a Server-Timing header.
 *
 * @returns {{name: string, milliseconds: number}[]}
 */
export function stages(header) {
  return (header ?? "")
    .split(",")
    .map((part) => /^\s*([\w-]+)\s*;\s*dur=([\d.]+)/.exec(part))
    .filter((found) => found !== null)
    .map(([, name, milliseconds]) => ({ name, milliseconds: Number(milliseconds) }));
}

/** Like 3.21 ms or 240 ms. */
export function duration(milliseconds) {
  return `${milliseconds.toFixed(milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0)} ms`;
}

/** A list: the time in the browser, then that of each stage on the server. */
export function timingList(milliseconds, header) {
  const found = stages(header);
  const list = element("dl", { className: "timing" });
  const add = (name, value, kind) =>
    list.append(
      element("div", { className: kind }, element("dt", {}, name), element("dd", {}, value)),
    );
  add("Browser", duration(milliseconds), "total");
  if (found.length) {
    const sum = found.reduce((total, stage) => total + stage.milliseconds, 0);
    add("Server", duration(sum), "total");
  }
  for (const stage of found) add(stage.name, duration(stage.milliseconds), "stage");
  return list;
}
