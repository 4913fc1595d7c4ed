// The models that there are, and the one that is chosen.

import { request } from "./request.js";

const model = document.getElementById("model");
const version = document.getElementById("version");

/** Fills the two lists with what the server has. */
export async function loadModels() {
  const { body } = await request("/v2/models");
  const versions = new Map(body.models.map((each) => [each.name, each.versions]));
  model.replaceChildren(...[...versions.keys()].map((name) => new Option(name)));
  model.value = body.default;
  const listVersions = () => {
    const found = versions.get(model.value) ?? [];
    version.replaceChildren(
      new Option(found.length ? `current (${found[0]})` : "current", ""),
      ...found.map((name) => new Option(name)),
    );
  };
  model.onchange = listVersions;
  listVersions();
  document.getElementById("choices").hidden = false;
}

/** The names of the chosen model and version; of the version none where it is the current one. */
export function chosen() {
  return { model: model.value, version: version.value };
}
