// Makes elements. Text goes in as text, so that nothing that a file or a server says becomes HTML.

/**
 * @param {string} tag
 * @param {object} properties of the element; `data` and `aria` hold those with such a prefix.
 * @param {...(Node|string|null)} children null is left out.
 */
export function element(tag, { data = {}, aria = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}
