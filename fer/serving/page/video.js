// A video: its timeline of emotions, a lane for each person, while the server looks at it.
import { about, boxes, chosen, legend, make, model, percent, say, saidOf } from "./common.js";
import { stacked } from "./timeline.js";

const SHORTEST = 0.5; // seconds that a person is seen; others get no lane
const MOST = 12; // lanes

const section = document.getElementById("video");
const [said, stage, lanes, axis, progress, stop, save, list] = [".said", ".stage", ".lanes", ".axis", "progress", ".stop", ".save", ".legend"]
  .map((name) => section.querySelector(name));
const player = stage.querySelector("video");
let reading, film, of, shownAt;

export function prepare() {
  section.querySelector(".file").addEventListener("change", (event) => {
    if (event.target.files[0]) look(event.target.files[0]);
    event.target.value = "";
  });
  section.addEventListener("dragover", (event) => event.preventDefault());
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
  });
  stop.addEventListener("click", () => reading?.abort());
  save.addEventListener("click", download);
  player.addEventListener("error", () => {
    if (!player.src) return;
    stage.hidden = true;
    film.unplayable = true;
  });
  player.addEventListener("loadedmetadata", () => { stage.hidden = false; });
  new ResizeObserver(draw).observe(lanes);
  follow();
}

export function leave() {
  player.pause();
}

async function look(file) {
  reading?.abort();
  if (player.src) URL.revokeObjectURL(player.src);
  of = model();
  film = { name: file.name, rate: 25, promised: 0, frames: [], people: new Map() };
  const mine = film;
  lanes.replaceChildren();
  axis.hidden = true;
  stage.hidden = true;
  save.hidden = true;
  player.src = URL.createObjectURL(file);
  legend(list, of);
  progress.value = 0;
  if (file.size > about.limits.video_mb * 1e6) return failed(`the file is larger than ${about.limits.video_mb} MB`);
  reading = new AbortController();
  progress.hidden = stop.hidden = false;
  say(said, "sending ...");
  try {
    await receive(file, mine, reading.signal);
  } catch (error) {
    if (mine !== film) return;
    if (error.name !== "AbortError") return failed(error instanceof TypeError ? "the server does not answer" : error.message);
    mine.fault = "stopped";
  }
  if (mine === film) finished();
}

async function receive(file, mine, signal) {
  const response = await fetch(`video?model=${chosen()}`, { method: "POST", body: file, signal });
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  let drawn = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (left + value).split("\n");
    left = lines.pop();
    for (const line of lines) take(JSON.parse(line), mine);
    if (performance.now() - drawn > 400 && mine === film) {
      drawn = performance.now();
      progressed();
      draw();
    }
  }
  if (mine.fault === undefined) throw new Error("the server broke off");
}

function take(row, mine) {
  if ("rate" in row) Object.assign(mine, { rate: row.rate, promised: row.frames });
  else if ("width" in row) mine.size = row;
  else if ("end" in row) mine.fault = row.fault;
  else {
    mine.frames.push(row);
    for (const face of row.faces) {
      if (face.track === null) continue;
      if (!mine.people.has(face.track)) mine.people.set(face.track, []);
      mine.people.get(face.track).push({ time: row.time, ...face });
    }
  }
}

function progressed() {
  progress.value = film.promised ? (film.frames.at(-1)?.time ?? 0) / lengthOf() : 0;
  say(said, `${film.frames.length.toLocaleString("en")} frames`);
}

function failed(message) {
  progress.hidden = stop.hidden = list.hidden = true;
  stage.hidden = true;
  say(said, `${film.name}: ${message}`, true);
}

function finished() {
  progress.hidden = stop.hidden = true;
  const end = film.frames.at(-1)?.time ?? 0;
  const parts = [`${film.frames.length.toLocaleString("en")} frames, ${clock(end)}, ${film.people.size} ${film.people.size === 1 ? "person" : "people"}`];
  if (film.promised / film.rate > about.limits.video_seconds) parts.push(`only the first ${about.limits.video_seconds} seconds are looked at`);
  if (film.fault) parts.push(film.fault);
  if (film.unplayable) parts.push("this browser cannot play the file; its timeline is complete all the same");
  say(said, film.people.size ? parts.join("; ") : [...parts, "no face was found"].join("; "));
  save.hidden = !film.people.size;
  draw();
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function draw() {
  if (!film) return;
  shownAt = undefined; // the boxes too are drawn anew
  timelines();
}

function timelines() {
  const length = lengthOf();
  const people = [...film.people].filter(([, points]) => seenFor(points) >= Math.min(SHORTEST, length / 4));
  people.slice(0, MOST).forEach(([track, points]) => {
    let lane = document.getElementById(`lane-${track}`);
    if (!lane) {
      const canvas = make("canvas", { role: "img", "aria-label": `Emotions of person ${track} over time; a click goes there` });
      const seek = (event) => {
        if (event.buttons || event.type === "click") player.currentTime = (event.offsetX / canvas.clientWidth) * lengthOf();
      };
      canvas.addEventListener("pointermove", seek);
      canvas.addEventListener("click", seek);
      const heading = make("h3", {}, `Person ${track}`, make("span", { class: "note" }));
      lane = make("div", { class: "lane", id: `lane-${track}` }, heading, canvas);
      lanes.append(lane);
    }
    lane.querySelector(".note").textContent = shares(points);
    stacked(lane.querySelector("canvas"), points, 0, length, of, stage.hidden ? undefined : player.currentTime);
  });
  axis.hidden = !people.length;
  [...axis.children].forEach((label, index, all) => { label.textContent = clock((length * index) / (all.length - 1)); });
}

/** Seconds from a person's first frame to the end of the last; by their times, since a recording's rate may be a mere 1,000. */
function seenFor(points) {
  return points.at(-1).time - points[0].time + 1 / film.rate;
}

/** The frame that is played at a time: the last one that has begun. */
function frameAt(time) {
  let [low, high] = [0, film.frames.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (film.frames[middle].time <= time + 0.001) low = middle;
    else high = middle - 1;
  }
  return film.frames[low];
}

function lengthOf() {
  const due = film.promised ? Math.min(film.promised / film.rate, about.limits.video_seconds) : 0;
  return Math.max(due, film.frames.at(-1)?.time ?? 0, 0.1);
}

/** "happy 61 %, neutral 30 %": of the time that a person is seen. */
function shares(points) {
  const counts = new Map();
  for (const point of points) counts.set(saidOf(point), (counts.get(saidOf(point)) ?? 0) + 1);
  const ordered = [...counts].sort((one, other) => other[1] - one[1]).slice(0, 3);
  return ordered.map(([name, count]) => `${name} ${percent(count / points.length)}`).join(", ");
}

/** Draw the boxes of the frame that is played, and the mark in the timeline. */
function follow() {
  const step = () => {
    requestAnimationFrame(step);
    if (section.hidden || stage.hidden || !film?.size) return;
    const now = player.currentTime;
    if (now === shownAt) return;
    shownAt = now;
    const frame = frameAt(now);
    const near = frame && Math.abs(frame.time - now) < 0.5;
    const faces = near ? frame.faces : [];
    const texts = faces.map((face) => `${face.track ?? "?"} ${saidOf(face)} ${percent(Math.max(...Object.values(face.probabilities)))}`);
    boxes(stage.querySelector("canvas"), faces, film.size, { of, texts });
    timelines();
  };
  step();
}

function download() {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : /^[=+@-]/.test(text) ? `'${text}` : text);
  const rows = [["frame", "time", "track", "left", "top", "right", "bottom", "emotion", ...of.classes.map((name) => `p_${name}`)]];
  for (const { frame, time, faces } of film.frames) {
    for (const face of faces) {
      rows.push([frame, time, face.track ?? "", ...face.box, saidOf(face), ...of.classes.map((name) => face.probabilities[name])]);
    }
  }
  const text = rows.map((row) => row.map((cell) => (typeof cell === "number" ? String(cell) : quote(cell))).join(",")).join("\n") + "\n";
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "timeline.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
