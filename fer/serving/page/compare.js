// Two models on the same picture.
import { about, boxes, card, make, predict, say, saidOf, shown, takes } from "./common.js";

const section = document.getElementById("compare");
const [said, stage, rows] = [".said", ".stage", ".rows"].map((name) => section.querySelector(name));
let answer, asked = 0;

export function prepare() {
  const two = about.models.length > 1;
  section.querySelector(".alone").hidden = two;
  section.querySelector(".pair").hidden = !two;
  if (!two) return;
  takes(section, "image/", look);
  new ResizeObserver(draw).observe(stage);
}

async function look(file) {
  const mine = ++asked;
  say(said, "looking ...");
  rows.replaceChildren();
  answer = undefined;
  await shown(stage, file);
  draw();
  let answers;
  try {
    answers = await Promise.all(about.models.map((_, index) => predict(file, { number: index + 1, explain: true })));
  } catch (error) {
    if (mine === asked) {
      stage.hidden = true;
      say(said, `${file.name}: ${error.message}`, true);
    }
    return;
  }
  if (mine !== asked) return;
  answer = answers[0]; // the faces are the same: both have one detector
  const alike = answer.faces.filter((face, index) => face.emotion === answers[1].faces[index].emotion).length;
  say(said, answer.faces.length ? `the models agree on ${alike} of ${answer.faces.length}` : "no face was found");
  rows.replaceChildren(...answer.faces.map((face, index) => {
    const pair = answers.map((one) => one.faces[index]);
    const verdict = pair[0].emotion === pair[1].emotion ? "the same" : "different";
    const both = pair.map((one, place) => card(one, `${about.models[place].name}: ${saidOf(one)}`, about.models[place]));
    const heading = make("h3", {}, `Face ${index + 1}`, make("span", { class: "note" }, verdict));
    return make("div", { class: "row" }, heading, make("div", { class: "versus" }, ...both));
  }));
  draw();
}

function draw() {
  const faces = answer?.faces ?? [];
  const texts = faces.map((_, index) => `${index + 1}`);
  if (!stage.hidden) boxes(stage.querySelector("canvas"), faces, answer ?? { width: 1 }, { of: about.models[0], texts });
}
