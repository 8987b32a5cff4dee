// One picture: boxes, a card for each face.
import { boxes, card, predict, say, saidOf, shown, takes } from "./common.js";

const section = document.getElementById("picture");
const [said, stage, cards, json] = [".said", ".stage", ".cards", ".json"].map((name) => section.querySelector(name));
let file, answer, asked = 0;

export function prepare() {
  takes(section, "image/", (given) => { file = given; look(); });
  new ResizeObserver(draw).observe(stage);
}

export function changed() {
  if (file) look();
}

async function look() {
  const mine = ++asked;
  say(said, "looking ...");
  cards.replaceChildren();
  json.hidden = true;
  answer = undefined;
  const visible = await shown(stage, file);
  draw();
  try {
    const given = await predict(file, { explain: true });
    if (mine !== asked) return;
    answer = given;
  } catch (error) {
    if (mine === asked) {
      stage.hidden = true;
      say(said, `${file.name}: ${error.message}`, true);
    }
    return;
  }
  const count = answer.faces.length;
  const more = answer.left_out ? `; ${answer.left_out} more are left out` : "";
  const unseen = visible ? "" : " (this browser cannot show the picture)";
  say(said, (count ? `${count} face${count > 1 ? "s" : ""}${more}` : "no face was found") + unseen);
  cards.replaceChildren(...answer.faces.map((face, index) => card(face, `${index + 1}: ${saidOf(face)}`)));
  const { faces, ...rest } = answer;
  const plain = { ...rest, faces: faces.map(({ crop, explanation, ...face }) => face) };
  json.querySelector("pre").textContent = JSON.stringify(plain, null, 1);
  json.hidden = false;
  draw();
}

function draw() {
  if (!stage.hidden) boxes(stage.querySelector("canvas"), answer?.faces ?? [], answer ?? { width: 1 });
}
