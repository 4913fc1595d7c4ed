// The page: images become cards, and cards are sent once there is a key, where one is needed.

import { Card } from "./card.js";
import { listen } from "./intake.js";
import { askForKey, key } from "./key.js";
import { loadModels } from "./models.js";

const cards = document.getElementById("cards");
const status = document.getElementById("status");
const notice = document.getElementById("notice");
const again = document.getElementById("again");
const forget = document.getElementById("forget");

const unsent = new Set();
let ready = false;

function announce(sentence) {
  status.textContent = sentence;
}

function warn(sentence, action = "") {
  notice.textContent = sentence;
  notice.hidden = sentence === "";
  again.textContent = action;
  again.hidden = action === "";
}

/** Finds out what models there are, and sends what waits for it. */
async function connect() {
  ready = false;
  warn("");
  try {
    await loadModels();
  } catch (error) {
    if (error.status !== 401) {
      warn(error.message, "Try again");
    } else if (error.key !== null) {
      if (error.key === key.value) key.forget();
      await enter("The server does not know this key. Enter another one.");
    } else {
      await enter("This server needs an API key.");
    }
    return;
  }
  ready = true;
  forget.hidden = key.value === null;
  const waiting = [...unsent];
  unsent.clear();
  for (const card of waiting) card.send();
}

async function enter(why) {
  forget.hidden = key.value === null;
  if (await askForKey(why)) await connect();
  else warn("This server needs an API key.", "Enter a key");
}

function refused(card, error) {
  unsent.add(card);
  if (error.key !== null && error.key === key.value) key.forget();
  enter("The server does not know this key. Enter another one.");
}

function take(files) {
  warnIfReady();
  const made = files.map((file) => new Card(file, { announce, refused }));
  cards.prepend(...made.map((card) => card.article));
  for (const card of made) {
    card.remove.onclick = () => drop(card);
    if (ready) {
      card.send();
    } else {
      unsent.add(card);
      card.wait("Is sent when the server has been reached.");
    }
  }
}

/** Takes a card away; who used the keyboard is then at the next one. */
function drop(card) {
  card.end();
  unsent.delete(card);
  const { nextElementSibling: after, previousElementSibling: before } = card.article;
  card.article.remove();
  ((after ?? before)?.querySelector(".remove") ?? document.getElementById("choose")).focus();
}

function warnIfReady() {
  if (ready) warn("");
}

again.onclick = connect;
forget.onclick = () => {
  key.forget();
  connect();
};
listen(take, warn);
connect();
