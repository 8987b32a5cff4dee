// What the camera sees now, and of the largest face the last 30 seconds.
import { boxes, Card, largest, legend, model, say, saidOf } from "./common.js";
import { Feed } from "./feed.js";
import { stacked } from "./timeline.js";

const SECONDS = 30;
const MOST = 4; // cards; more would jump about

const section = document.getElementById("camera");
const [said, stage, cards, start, speed, history, list] = [".said", ".stage", ".cards", ".start", ".speed", ".history", ".legend"]
  .map((name) => section.querySelector(name));
const why = section.querySelector(".why");
const feed = new Feed(stage.querySelector("video"), take, (message) => { leave(); say(said, message, true); });
let past = [], shown = [], rate = 0;

export function prepare() {
  why.addEventListener("change", () => { feed.explain = why.checked; });
  why.closest("label").hidden = !model().explains;
  start.addEventListener("click", async () => {
    if (feed.running) {
      leave();
      say(said, "");
      return;
    }
    say(said, "starting ...");
    stage.hidden = false;
    start.disabled = true; // a second click would start a second stream
    try {
      await feed.start();
      if (!feed.running) return;
      start.textContent = "Stop the camera";
      say(said, "");
      changed();
    } catch (error) {
      leave();
      say(said, error.message, true);
    } finally {
      start.disabled = false;
    }
  });
}

export function changed() {
  why.closest("label").hidden = !model().explains;
  past = [];
  shown = [];
  cards.replaceChildren();
  if (feed.running) legend(list);
}

export function leave() {
  feed.stop();
  start.textContent = "Start the camera";
  stage.hidden = true;
  history.hidden = true;
  list.hidden = true;
  speed.textContent = "";
  cards.replaceChildren();
  past = [];
}

function take(answer, seconds) {
  rate = rate ? 0.9 * rate + 0.1 / seconds : 1 / seconds;
  speed.textContent = `${rate.toFixed(0)} pictures a second`;
  boxes(stage.querySelector("canvas"), answer.faces, answer, { mirrored: true });
  say(said, answer.faces.length ? "" : "no face");
  const faces = answer.faces.slice(0, MOST);
  while (shown.length < faces.length) shown.push(new Card());
  faces.forEach((face, index) => shown[index].fill(face, `${index + 1}: ${saidOf(face)}`));
  if (cards.childElementCount !== faces.length) cards.replaceChildren(...shown.slice(0, faces.length).map((one) => one.element));
  const now = performance.now() / 1000;
  past.push({ time: now, probabilities: largest(answer.faces)?.probabilities });
  past = past.filter((one) => now - one.time <= SECONDS);
  history.hidden = false;
  stacked(history, past, now - SECONDS, now, model());
}
