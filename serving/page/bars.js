// The probabilities of an answer as bars.

import { percent } from "./answer.js";
import { element } from "./element.js";

/** A list with a bar for each label. */
export function barList(predictions) {
  return element("ol", { className: "bars" }, ...predictions.map(row));
}

function row({ label, probability }) {
  const bar = element("span", { className: "bar", aria: { hidden: true } });
  bar.style.setProperty("--share", probability); // a style attribute would be refused
  return element(
    "li",
    {},
    element("span", { className: "label" }, label),
    bar,
    element("span", { className: "percent" }, percent(probability)),
  );
}
