// What every view uses: asking the server, boxes, bars. Names come from data: they are set as text, never as markup.

export let about = { models: [], limits: {}, languages: [] };

/** Whether the server is this very machine, so that pictures stay on it. */
export const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

export async function begin() {
  about = await json(await fetch("about"));
  return about;
}

/** The model that is chosen, from 1. */
export function chosen() {
  return Number(document.getElementById("model").value) || 1;
}

export function model(number = chosen()) {
  return about.models[number - 1];
}

async function json(response) {
  let said;
  try {
    said = await response.json();
  } catch {
    throw new Error(`the server answered ${response.status} without a reason`);
  }
  if (!response.ok) throw Object.assign(new Error(said.error), { status: response.status });
  return said;
}

/** Send a picture; the answer is that of POST /predict. */
export async function predict(picture, { number = chosen(), explain = false } = {}) {
  const most = about.limits.picture_mb;
  if (picture.size > most * 1e6) throw new Error(`the file is larger than ${most} MB`);
  const query = new URLSearchParams({ model: number, crops: true, explain: explain && model(number).explains });
  try {
    return await json(await fetch(`predict?${query}`, { method: "POST", body: picture }));
  } catch (error) {
    throw error instanceof TypeError ? new Error("the server does not answer; is it still running?") : error;
  }
}

export async function game(code) {
  return json(await fetch(`game/${encodeURIComponent(code)}`));
}

/** An element: make("p", {class: "note"}, "text", child). */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function say(where, text, bad = false) {
  where.textContent = text;
  where.classList.toggle("bad", bad);
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function colour(emotion, of = model()) {
  return of.colours[of.classes.indexOf(emotion)] ?? "#969696";
}

export const saidOf = (face) => face.emotion ?? "undecided";

export function largest(faces) {
  const area = (face) => (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]);
  return faces.reduce((most, face) => (most && area(most) >= area(face) ? most : face), undefined);
}

/** Bars of probabilities; the same element can be filled again and again. */
export class Bars {
  constructor(of = model(), names = {}) {
    this.of = of;
    this.element = make("dl", { class: "bars" });
    this.rows = of.classes.map((name) => {
      const fill = make("div", { class: "fill" });
      fill.style.background = colour(name, of);
      const row = { name, fill, label: make("dt", {}, names[name] ?? name), value: make("dd", { class: "value" }, "") };
      this.element.append(row.label, make("dd", { class: "track" }, fill), row.value);
      return row;
    });
  }

  fill(probabilities) {
    const most = Math.max(...Object.values(probabilities));
    for (const { name, fill, label, value } of this.rows) {
      fill.style.width = `${100 * probabilities[name]}%`;
      value.textContent = percent(probabilities[name]);
      label.classList.toggle("top", probabilities[name] === most);
    }
    return this;
  }
}

const figure = (caption) => {
  const image = make("img", { alt: caption });
  const element = make("figure", { hidden: true }, image, make("figcaption", {}, caption));
  return {
    element,
    show(source) {
      element.hidden = !source;
      if (source) image.src = source;
    },
  };
};

/** A face's card: what the network looked at, what decided it if the server says so, bars; can be filled anew. */
export class Card {
  constructor(of = model(), names = {}) {
    this.of = of;
    this.swatch = make("span", { class: "swatch" });
    this.title = make("span");
    this.crop = figure("what the model sees");
    this.explanation = figure("what speaks for it");
    this.bars = new Bars(of, names);
    const seen = make("div", { class: "seen" }, this.crop.element, this.explanation.element);
    this.element = make("article", { class: "card" }, make("h3", {}, this.swatch, this.title), seen, this.bars.element);
  }

  fill(face, title) {
    this.swatch.style.background = colour(face.emotion, this.of);
    this.title.textContent = title;
    this.crop.show(face.crop);
    this.explanation.show(face.explanation);
    this.bars.fill(face.probabilities);
    return this;
  }
}

export const card = (face, title, of = model()) => new Card(of).fill(face, title).element;

const dark = (hex) => {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue <= 140;
};

/** Draw boxes over a picture or video that is shown at another size. */
export function boxes(canvas, faces, size, { mirrored = false, of = model(), labels = true, texts } = {}) {
  const sharp = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
  }
  const draw = canvas.getContext("2d");
  draw.setTransform(sharp, 0, 0, sharp, 0, 0);
  draw.clearRect(0, 0, width, height);
  const scale = width / size.width;
  faces.forEach((face, index) => {
    let [left, top, right, bottom] = face.box.map((value) => value * scale);
    if (mirrored) [left, right] = [width - right, width - left];
    const ink = colour(face.emotion, of);
    draw.lineWidth = 3;
    draw.strokeStyle = ink;
    draw.strokeRect(left, top, right - left, bottom - top);
    if (!labels) return;
    const text = texts ? texts[index] : `${index + 1} ${saidOf(face)} ${percent(Math.max(...Object.values(face.probabilities)))}`;
    draw.font = `600 ${faces.length > 12 ? 11 : 14}px system-ui, sans-serif`;
    const wide = draw.measureText(text).width + 10;
    const high = faces.length > 12 ? 16 : 21;
    const x = Math.max(0, Math.min(left - 1.5, width - wide));
    const y = top >= high ? top - high : Math.min(bottom, height - high);
    draw.fillStyle = ink;
    draw.fillRect(x, y, wide, high);
    draw.fillStyle = dark(ink) ? "#fff" : "#000";
    draw.textBaseline = "middle";
    draw.fillText(text, x + 5, y + high / 2);
  });
}

export function legend(list, of = model()) {
  list.replaceChildren(...of.classes.map((name) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = colour(name, of);
    return make("li", {}, swatch, name);
  }));
  list.hidden = false;
}

/** Let a view take a file: chosen, dropped, pasted, or drawn by the server. */
export function takes(section, kind, use) {
  section.querySelector(".file").addEventListener("change", (event) => {
    if (event.target.files[0]) use(event.target.files[0]);
    event.target.value = "";
  });
  section.addEventListener("dragover", (event) => { event.preventDefault(); section.classList.add("over"); });
  section.addEventListener("dragleave", () => section.classList.remove("over"));
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    section.classList.remove("over");
    if (event.dataTransfer.files[0]) use(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith(kind));
    if (file && !section.hidden) use(file);
  });
  section.querySelector(".drawn")?.addEventListener("click", async () => {
    const seed = Math.floor(Math.random() * 1e6);
    try {
      const answer = await fetch(`example.png?seed=${seed}`);
      if (!answer.ok) throw new Error("the server has no drawn faces now");
      use(new File([await answer.blob()], "drawn faces.png", { type: "image/png" }));
    } catch (error) {
      say(section.querySelector(".said"), error.message, true);
    }
  });
}

/** Show a picture in a stage; resolves to whether the browser can. */
export async function shown(stage, file) {
  const image = stage.querySelector("img");
  if (image.src) URL.revokeObjectURL(image.src);
  const address = URL.createObjectURL(file);
  image.src = address;
  stage.hidden = false;
  try {
    await image.decode();
    return true;
  } catch {
    if (image.src === address) stage.hidden = true; // a format that browsers do not show, such as TIFF; the server may read it all the same
    return false;
  }
}
