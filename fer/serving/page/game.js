// The acting game: read a situation, make the face; the right expression opens the next one.
import { about, Bars, game as texts, largest, local, make, model, say } from "./common.js";
import { drawnFace } from "./drawn.js";
import { Feed } from "./feed.js";

const EACH = 5; // situations of a level
const READING = 1.5; // seconds before a face counts
const HOLD = 0.8; // seconds that it must be held
const HINT = 8; // seconds after which the face is shown
const KIND = 15; // seconds after which less is asked for
const SMOOTH = 0.25; // seconds over which probabilities are averaged

const section = document.getElementById("game");
let language, words, emotions, situations, levels, feed, play, video, bars, crop;

export function prepare() {
  document.addEventListener("keydown", (event) => {
    if (section.hidden || event.target.closest?.("select, input")) return;
    const key = { " ": "main", Enter: "main", s: "skip", S: "skip", Escape: "stop" }[event.key];
    const button = key && section.querySelector(`[data-key="${key}"]`);
    if (!button || (event.target.closest?.("button") && key === "main")) return; // a button hears its own keys
    event.preventDefault();
    button.click();
  });
}

// A choice is kept for as long as the server begins with the same language.
function languageKey() {
  return `fer-language-${about.languages[0].code}`;
}

export async function enter() {
  if (section.childElementCount) return;
  let kept;
  try {
    kept = localStorage.getItem(languageKey());
  } catch { /* storage is switched off */ }
  const known = about.languages.map((one) => one.code);
  await load(known.includes(kept) ? kept : known[0]);
}

export function leave() {
  feed?.stop();
  if (play) intro();
}

export function changed() {
  feed?.stop();
  if (section.childElementCount) load(language);
}

async function load(code) {
  try {
    ({ words, emotions, situations } = await texts(code));
  } catch (error) {
    section.replaceChildren(make("p", { class: "said bad" }, error.message));
    return;
  }
  language = code;
  section.lang = code;
  const known = situations.filter((one) => model().classes.includes(one.emotion)); // others it could never see
  levels = [...new Set(known.map((one) => one.level))].sort().map((level) => known.filter((one) => one.level === level));
  intro();
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

function best(score) {
  try {
    const before = Number(localStorage.getItem("fer-best")) || 0;
    if (score > before) localStorage.setItem("fer-best", score);
    return Math.max(before, score ?? 0);
  } catch {
    return score ?? 0;
  }
}

function button(text, key, act, kind = "") {
  return make("button", { type: "button", "data-key": key, class: kind, onclick: act }, text);
}

function intro(message = "") {
  play = undefined;
  feed?.stop();
  const select = make("select", { "aria-label": "Language", onchange: (event) => {
    try {
      localStorage.setItem(languageKey(), event.target.value);
    } catch { /* storage is switched off */ }
    load(event.target.value);
  } }, ...about.languages.map(({ code, name }) => make("option", { value: code, lang: code, selected: code === language }, name)));
  const prizes = make("ul", { class: "earned" }, ...asked().map((emotion) => make("li", {}, ...prize(emotion))));
  const said = make("p", { class: "said", role: "status" });
  say(said, message, true);
  section.replaceChildren(make("div", { class: "play" },
    make("h2", {}, words.title), make("p", {}, levels.length ? words.intro : words.cannot), prizes, said,
    make("div", { class: "controls" }, ...(levels.length ? [button(words.start, "main", start, "primary")] : []), select),
    make("p", { class: "note" }, words.keys), make("p", { class: "note" }, local ? `${words.private} ${words.law}` : words.law),
    ...(best() ? [make("p", { class: "note" }, `${words.best}: ${best()}`)] : [])));
}

const asked = () => [...new Set(levels.flat().map((one) => one.emotion))];

function prize(emotion) {
  const face = drawnFace(emotion);
  return [...(face ? [face] : []), emotions[emotion] ?? emotion];
}

async function start() {
  play = { score: 0, level: 0, earned: [] };
  const told = make("p", { class: "told" }, words.camera);
  video = make("video", { muted: true, playsinline: true });
  video.muted = true;
  bars = new Bars(model(), emotions);
  crop = make("img", { alt: words.mirror });
  play.told = told;
  play.mirror = make("div", { class: "mirror" }, video, told);
  feed?.stop();
  feed = new Feed(video, take, intro);
  openLevel();
  const mine = play;
  try {
    await feed.start();
    if (play === mine && play.now) play.now.begun = performance.now();
  } catch (error) {
    if (play === mine) intro(`${words.no_camera} (${error.message})`);
  }
}

function openLevel() {
  const all = [...levels[play.level]];
  for (let index = all.length - 1; index > 0; index -= 1) { // shuffled
    const other = Math.floor(Math.random() * (index + 1));
    [all[index], all[other]] = [all[other], all[index]];
  }
  play.round = all.slice(0, EACH);
  play.results = [];
  next();
}

function next() {
  const done = play.results.length;
  if (done === play.round.length) return closeLevel();
  play.now = { ...play.round[done], begun: performance.now(), held: 0 };
  const hint = make("div", { class: "hint", "aria-live": "polite" });
  play.now.hint = hint;
  play.meter = make("i");
  play.told.textContent = feed.running ? "" : words.camera;
  play.told.hidden = feed.running;
  play.mirror.className = "mirror";
  section.replaceChildren(make("div", { class: "play" }, state(),
    make("p", { class: "situation", "aria-live": "polite" }, play.now.text), hint,
    make("div", { class: "faces" },
      make("div", {}, play.mirror, make("div", { class: "meter", role: "presentation" }, play.meter),
        make("p", { class: "note" }, words.hold)),
      make("div", {}, make("div", { class: "seen" }, make("figure", {}, crop, make("figcaption", {}, words.mirror))),
        bars.element)),
    make("div", { class: "controls" }, button(words.skip, "skip", () => settle(0)), button(words.stop, "stop", () => intro()))));
  return undefined;
}

function state() {
  const dots = play.round.map((_, index) => {
    const kind = index === play.results.length ? "now" : play.results[index] > 0 ? "done" : index < play.results.length ? "passed" : "";
    return make("i", { class: kind });
  });
  return make("div", { class: "state" }, make("span", {}, fill(words.level, { n: play.level + 1, of: levels.length })),
    make("span", { class: "dots", "aria-hidden": "true" }, ...dots), make("span", {}, `${words.score}: ${play.score}`));
}

/** An answer of the server: is it the face that is asked for? */
function take(answer, seconds) {
  if (!play?.now) return;
  const face = largest(answer.faces);
  play.told.hidden = Boolean(face);
  play.told.textContent = words.no_face;
  const waited = (performance.now() - play.now.begun) / 1000;
  const { now } = play;
  if (waited > HINT && !now.hinted) {
    now.hinted = true;
    now.hint.append(...prize(now.emotion));
    now.hint.prepend(`${words.hint}:`);
  }
  if (face) {
    const kept = Math.exp(-seconds / SMOOTH);
    play.mean ??= face.probabilities;
    for (const name of model().classes) play.mean[name] = kept * play.mean[name] + (1 - kept) * face.probabilities[name];
    bars.fill(play.mean);
    crop.src = face.crop;
  }
  const right = Boolean(face) && waited > READING && accepted(now.emotion, waited);
  now.held = Math.max(0, now.held + (right ? seconds : -seconds / 2));
  play.meter.style.width = `${Math.min(100, (100 * now.held) / HOLD)}%`;
  play.mirror.classList.toggle("warm", right);
  if (now.held >= HOLD) settle(Math.max(20, 100 - 5 * Math.floor(Math.max(0, waited - 3))));
}

/** It must be the most probable emotion, clearly so in higher levels; who tries for long is helped. */
function accepted(emotion, waited) {
  const better = Object.values(play.mean).filter((value) => value > play.mean[emotion]).length;
  if (waited > KIND) return better <= 1 && play.mean[emotion] > 0.2;
  return better === 0 && play.mean[emotion] >= Math.min(0.6, 0.25 + 0.1 * play.level);
}

function settle(points) {
  const { emotion, text } = play.now;
  play.now = undefined;
  play.mean = undefined;
  play.results.push(points);
  play.score += points;
  if (!points) return next();
  play.earned.push(emotion);
  play.mirror.classList.add("right");
  const go = button(words.next, "main", next, "primary");
  section.replaceChildren(make("div", { class: "play" }, state(), make("p", { class: "situation" }, text),
    make("p", { class: "big", role: "status" }, `${words.right} +${points}`),
    make("ul", { class: "earned" }, make("li", {}, ...prize(emotion))),
    make("div", { class: "controls" }, go, button(words.stop, "stop", () => intro()))));
  go.focus();
  return undefined;
}

function closeLevel() {
  const last = play.level + 1 === levels.length;
  const said = fill(last ? words.all_done : words.level_done, { n: play.level + 1, score: play.score });
  const onward = last
    ? button(words.again, "main", start, "primary")
    : button(words.next, "main", () => { play.level += 1; openLevel(); }, "primary");
  if (last) feed.stop();
  section.replaceChildren(make("div", { class: "play" }, make("h2", {}, said),
    make("p", { class: "big", role: "status" }, `${words.score}: ${play.score}`), make("p", { class: "note" }, `${words.best}: ${best(play.score)}`),
    make("ul", { class: "earned" }, ...play.earned.map((emotion) => make("li", {}, ...prize(emotion)))),
    make("div", { class: "controls" }, onward, button(words.stop, "stop", () => intro()))));
  onward.focus();
}
