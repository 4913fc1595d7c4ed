// One image, and what became of it.

import { percent, predictions } from "./answer.js";
import { barList } from "./bars.js";
import { curlLine } from "./curl.js";
import { element } from "./element.js";
import { explanation } from "./explanation.js";
import { key } from "./key.js";
import { chosen } from "./models.js";
import { Queue } from "./queue.js";
import { modelPath, request } from "./request.js";
import { thumbnail } from "./thumbnail.js";
import { timingList } from "./timing.js";

const sending = new Queue(4);
let count = 0;

export class Card {
  #file;
  #announce;
  #refused;
  #result = element("div", { className: "result" });
  #about = element("p", { className: "small" });
  #again = element("button", { type: "button", className: "quiet" }, "Send again");
  #ended = new AbortController();

  /**
   * @param {File} file
   * @param {object} hooks
   * @param {(sentence: string) => void} hooks.announce says something to who does not see.
   * @param {(card: Card, error: RequestError) => void} hooks.refused is told of a 401.
   */
  constructor(file, { announce, refused }) {
    this.#file = file;
    this.#announce = announce;
    this.#refused = refused;
    this.#again.onclick = () => this.send();
    const id = `card-${(count += 1)}`;
    const picture = element("div", { className: "thumbnail", aria: { hidden: true } });
    thumbnail(file).then((shown) => picture.append(shown));
    this.remove = element(
      "button",
      { type: "button", className: "quiet remove", aria: { label: `Remove ${file.name}` } },
      "×",
    );
    this.article = element(
      "article",
      { className: "card", aria: { labelledby: id } },
      element(
        "div",
        { className: "head" },
        picture,
        element("div", {}, element("h3", { id }, file.name), this.#about),
        this.remove,
      ),
      this.#result,
      element("div", { className: "row" }, this.#again),
    );
    this.#about.textContent = bytes(file.size);
  }

  /** Ends what is under way. */
  end() {
    this.#ended.abort();
  }

  /** Says why it has not been sent yet. */
  wait(reason) {
    this.#result.replaceChildren(element("p", { className: "small" }, reason));
  }

  /** Sends the image to the chosen model, and shows the answer. */
  async send() {
    const asked = chosen();
    this.#again.disabled = true;
    this.article.setAttribute("aria-busy", "true");
    this.wait("Waiting for a response …");
    try {
      await sending.run(() => this.#send(asked));
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#fail(error);
    } finally {
      this.#again.disabled = false;
      this.article.removeAttribute("aria-busy");
    }
  }

  async #send(asked) {
    const { signal } = this.#ended;
    signal.throwIfAborted();
    const path = modelPath("predictions", asked.model, asked.version);
    const answer = await request(path, { method: "POST", body: this.#file, signal });
    this.#show(asked, path, answer);
  }

  #show(asked, path, { text, body, response, milliseconds }) {
    const found = predictions(body);
    const version = response.headers.get("X-Model-Version") ?? asked.version;
    this.#about.textContent = `${bytes(this.#file.size)} · ${asked.model} ${version}`.trim();
    const raw = body === undefined ? text : JSON.stringify(body, null, 2);
    const shown = element("pre", {}, raw);
    const id = response.headers.get("X-Request-Id");
    const labels = found?.map((each) => each.label) ?? [];
    this.#result.replaceChildren(
      found ? barList(found) : shown,
      timingList(milliseconds, response.headers.get("Server-Timing")),
      explanation(this.#file, asked, labels, this.#announce),
      ...(found ? [folded("Raw JSON", shown)] : []),
      folded("curl", this.#curl(path)),
      ...(id ? [element("p", { className: "small id" }, `Request ${id}`)] : []),
    );
    const best = found ? `${found[0].label}, ${percent(found[0].probability)}` : "answered";
    this.#announce(`${this.#file.name}: ${best}`);
  }

  #fail(error) {
    const wait = error.retryAfter ? ` The server asks to wait for ${error.retryAfter} s.` : "";
    this.#result.replaceChildren(
      element("p", { className: "error" }, `${error.message}${wait}`),
      ...(error.status ? [element("p", { className: "small" }, `Status ${error.status}`)] : []),
    );
    this.#announce(`${this.#file.name}: ${error.message}`);
    if (error.status === 401) this.#refused(this, error);
  }

  #curl(path) {
    const line = curlLine(path, this.#file.name, key.value !== null);
    const copy = element("button", { type: "button", className: "quiet" }, "Copy");
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(line);
        copy.textContent = "Copied";
        this.#announce("Copied");
      } catch {
        // Without TLS, browsers let no script copy: it is selected for Ctrl-C.
        getSelection().selectAllChildren(code);
        this.#announce("Selected");
      }
    };
    const code = element("pre", {}, line);
    return element("div", {}, code, copy);
  }
}

function folded(title, content) {
  return element("details", {}, element("summary", {}, title), content);
}

function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  return size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}
