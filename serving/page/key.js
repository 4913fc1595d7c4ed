// The API key, and the dialog that asks for it. It is kept in this tab alone.

const NAME = "falconet-key";
// What a header can hold, and the gateway's file of keys.
const ALLOWED = /^[\x21-\x7e]+$/;

export const key = {
  get value() {
    return sessionStorage.getItem(NAME);
  },
  forget() {
    sessionStorage.removeItem(NAME);
  },
  get headers() {
    return this.value === null ? {} : { "X-Api-Key": this.value };
  },
};

let asked = null;

/**
 * Asks for a key; several who ask at once get one dialog.
 *
 * @param {string} why
 * @returns {Promise<boolean>} whether there is one now.
 */
export function askForKey(why) {
  asked ??= ask(why).finally(() => {
    asked = null;
  });
  return asked;
}

function ask(why) {
  const dialog = document.getElementById("ask");
  const reason = document.getElementById("ask-why");
  const field = document.getElementById("key");
  reason.textContent = why;
  field.value = "";
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    const value = field.value.trim();
    if (!ALLOWED.test(value)) {
      reason.textContent = "A key has no spaces, and no letters but those of English.";
      return;
    }
    sessionStorage.setItem(NAME, value);
    dialog.close("given");
  };
  document.getElementById("cancel").onclick = () => dialog.close("");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener(
      "close",
      () => {
        field.value = "";
        done(dialog.returnValue === "given");
      },
      { once: true },
    );
  });
}
