// Where the network looked: the image as it saw it, and over it what spoke for a class.

import { percent } from "./answer.js";
import { element } from "./element.js";
import { modelPath, request } from "./request.js";

const CLASS_HEADER = "X-Explain-Class";
// Why there are none, by path: what one image is told of a model holds for the others.
const unavailable = new Map();

/**
 * A button, and what it brings.
 *
 * @param {File} file
 * @param {{model: string, version: string}} asked
 * @param {string[]} labels that can be explained, the best first.
 * @param {(sentence: string) => void} announce
 */
export function explanation(file, { model, version }, labels, announce) {
  const path = modelPath("explanations", model, version);
  const button = element("button", { type: "button" }, "Where did the network look?");
  const result = element("div", { className: "explanation", tabIndex: -1 });
  const made = element("div", {}, button, result);
  const say = (sentence) => {
    result.replaceChildren(element("p", { className: "small" }, sentence));
    announce(sentence);
  };
  const stop = (reason) => {
    button.disabled = true;
    result.replaceChildren(element("p", { className: "small" }, reason));
  };
  const show = async (label) => {
    button.disabled = true;
    try {
      const headers = label === null ? {} : { [CLASS_HEADER]: encodeURIComponent(label) };
      const { body } = await request(path, { method: "POST", body: file, headers });
      button.hidden = true;
      result.replaceChildren(figure(body, labels, show));
      result.focus({ preventScroll: true });
      announce(`Shown for ${body.label}, ${percent(body.probability)}`);
    } catch (error) {
      say(error.message);
      button.hidden = false;
      button.disabled = false;
      if (error.status === 501) {
        unavailable.set(path, error.message);
        stop(error.message);
        result.focus({ preventScroll: true });
      }
    }
  };
  button.onclick = () => show(null);
  if (unavailable.has(path)) stop(unavailable.get(path));
  return made;
}

function figure(body, labels, show) {
  const overlay = image(body.overlay, `What spoke for ${body.label}`, "overlay");
  const shown = element("input", {
    type: "checkbox",
    checked: true,
    onchange: () => {
      overlay.hidden = !shown.checked;
    },
  });
  const classes = [...new Set([body.label, ...labels])];
  const choice = element(
    "select",
    { onchange: () => show(choice.value) },
    ...classes.map((each) => new Option(each)),
  );
  return element(
    "figure",
    {},
    element(
      "div",
      { className: "layers" },
      image(body.input, "The image as the network saw it", "input"),
      overlay,
    ),
    element(
      "figcaption",
      {},
      element("label", {}, "What speaks for ", choice, ` ${percent(body.probability)}`),
      element("label", {}, shown, " Show it over the image"),
    ),
  );
}

function image(base64, alt, className) {
  return element("img", { src: `data:image/png;base64,${base64}`, alt, className });
}
