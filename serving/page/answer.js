// What a model answered about an image.

const MOST = 5; // bars

/**
 * The labels and their probabilities, best first; null where the answer has another form.
 *
 * @param {any} body of the response.
 * @returns {?{label: string, probability: number}[]}
 */
export function predictions(body) {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return null;
  const found = Array.isArray(body.predictions)
    ? body.predictions
    : Object.entries(body).map(([label, probability]) => ({ label, probability }));
  if (found.length === 0 || !found.every(isPrediction)) return null;
  return [...found].sort((a, b) => b.probability - a.probability).slice(0, MOST);
}

function isPrediction(each) {
  return (
    typeof each?.label === "string" &&
    typeof each.probability === "number" &&
    each.probability >= 0 &&
    each.probability <= 1
  );
}

/** Like 93.1 %. */
export function percent(probability) {
  return `${(100 * probability).toFixed(1)}\u00a0%`;
}
